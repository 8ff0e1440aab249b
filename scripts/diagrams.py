"""State diagrams of ARCHITECTURE.md, made from the transition tables.

``python -m scripts.diagrams`` prints them, ``--write`` replaces them in ARCHITECTURE.md.
"""

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from rbln_supervisor.core.workers import lifecycle, worker_events
from rbln_worker.contract.health import HealthPolicy
from rbln_worker.core.health import health_record, state_machine
from rbln_worker.core.health.observation import Bad, Doubt, Good, Unknown

PAGE: Final = Path(__file__).parents[1] / "ARCHITECTURE.md"
NOW: Final = 1000.0
_EVENTS: Final = tuple(dict.fromkeys(event for _, event in lifecycle.TABLE))


class Edge(NamedTuple):
    """A transition, without its event."""

    source: str
    target: str
    action: str


def worker_life_cycle() -> str:
    """Draw ``lifecycle.TABLE``; events that change no state and cause no action are left out."""
    edges: dict[Edge, list[str]] = {}
    reachable = _reachable()
    for state, event in lifecycle.TABLE:
        outcomes = {
            child.wanted: _edge(child, event) for child in reachable if child.state is state
        }
        for wanted, edge in outcomes.items():
            if edge.source == edge.target and not edge.action:
                continue
            label = event.__name__
            if len(set(outcomes.values())) > 1:
                label += " [wanted]" if wanted else " [not wanted]"
            labels = edges.setdefault(edge, [])
            if label not in labels:
                labels.append(label)
    return _drawn(lifecycle.State.NONE, edges)


def _reachable() -> tuple[lifecycle.Child, ...]:
    """Return each pair of ``state`` and ``wanted`` that a worker can come to."""
    found = [lifecycle.Child()]
    for child in found:
        for event in _EVENTS:
            after, _ = lifecycle.step(child, _made(event), NOW)
            pair = lifecycle.Child(state=after.state, wanted=after.wanted)
            if pair not in found:
                found.append(pair)
    return tuple(sorted(found, key=lambda child: not child.wanted))


def _made(event: type[worker_events.Event]) -> worker_events.Event:
    return worker_events.Exited(0.5) if event is worker_events.Exited else event()  # type: ignore[call-arg]


def _edge(child: lifecycle.Child, event: type[worker_events.Event]) -> Edge:
    after, acts = lifecycle.step(child, _made(event), NOW)
    return Edge(child.state, after.state, ", ".join(act.value for act in acts))


def device_health() -> str:
    """Draw ``machine.TABLE``, without transitions to the same state; brackets are conditions."""
    edges: dict[Edge, list[str]] = {}
    for state, event in state_machine.TABLE:
        plain = _after(_record(state), event)
        labels = {event.__name__: plain}
        for condition, record in _variants(state):
            other = _after(record, event)
            if other != plain:
                labels[f"{event.__name__} [{condition}]"] = other
        for label, target in labels.items():
            if target != state:
                edges.setdefault(Edge(state, target, ""), []).append(label)
    return _drawn(health_record.HealthState.NEW, edges)


def _record(state: health_record.HealthState) -> health_record.HealthRecord:
    """Return a device that was Healthy for the kubelet before."""
    was = (
        None
        if state is health_record.HealthState.NEW
        else health_record.Timestamp(NOW - 60, NOW - 60)
    )
    return health_record.HealthRecord(state, became_healthy=was, deadline=NOW)


def _variants(state: health_record.HealthState) -> Iterator[tuple[str, health_record.HealthRecord]]:
    record = _record(state)
    often = (NOW - 2, NOW - 1)
    yield f"{state_machine.MAX_SUSPICIONS} times in 10 s", replace(record, suspicions=often)
    if state is health_record.HealthState.UNHEALTHY:
        yield "never Healthy before", replace(record, became_healthy=None)


_EVIDENCE: Final[Mapping[type[state_machine.Event], state_machine.Event]] = {
    Good: Good(),
    Bad: Bad("source", "reason"),
    Doubt: Doubt("source", "reason"),
    Unknown: Unknown("source", "reason"),
    state_machine.Due: state_machine.Due(),
}


def _after(
    record: health_record.HealthRecord, event: type[state_machine.Event]
) -> health_record.HealthState:
    now = health_record.Timestamp(NOW, NOW)
    return state_machine.step(record, _EVIDENCE[event], now, HealthPolicy()).state


def _drawn(first: str, edges: Mapping[Edge, list[str]]) -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    for edge, labels in edges.items():
        action = f" / {edge.action}" if edge.action else ""
        lines.append(f"    {edge.source} --> {edge.target}: {', '.join(labels)}{action}")
    return "\n".join(lines)


DIAGRAMS: Final = {"worker life cycle": worker_life_cycle, "device health": device_health}


def blocks() -> tuple[str, ...]:
    """Return the diagrams as fenced blocks, in the order of ARCHITECTURE.md."""
    return tuple(f"```mermaid\n{draw()}\n```" for draw in DIAGRAMS.values())


def written(page: str) -> tuple[str, ...]:
    """Return the diagrams that a page has."""
    return tuple(re.findall(r"^```mermaid\n.*?\n```$", page, re.MULTILINE | re.DOTALL))


def main() -> None:
    """Print the diagrams, or write them into ARCHITECTURE.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace them in ARCHITECTURE.md")
    if parser.parse_args().write:
        page = PAGE.read_text()
        for old, new in zip(written(page), blocks(), strict=True):
            page = page.replace(old, new)
        PAGE.write_text(page)
    else:
        print("\n\n".join(blocks()))


if __name__ == "__main__":
    main()
