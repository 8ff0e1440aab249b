"""Events for people: one line each."""

from collections.abc import Iterable
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rbln_supervisor.ctl.rendering import table_for
from rbln_supervisor.ctl.times import time_stamp
from rbln_supervisor.ctl.wording import plain
from rbln_worker.contract.events import Event

_GOOD: Final = frozenset({"Healthy", "serving", "registered", "done", "started", "adopted"})
_BAD: Final = frozenset(
    {
        *("Unhealthy", "died", "hangs", "not started", "refused"),
        *("backoff", "invalid", "gone", "unregistered"),
    }
)
NARROW_COLUMNS: Final = 100
"""Width below which a table of events shows only the time of day (columns)."""


def events_page(events: Iterable[Event], columns: int) -> RenderableType:
    """Return a table of events, the newest last."""
    table: Table = table_for(columns)
    narrow = columns < NARROW_COLUMNS
    table.add_column("TIME (UTC)", no_wrap=True)
    table.add_column("POOL", overflow="fold")
    table.add_column("DEVICE", overflow="fold")
    table.add_column("WHAT", overflow="fold")
    table.add_column("WHY", overflow="fold")
    for event in events:
        when = time_stamp(event.at)
        table.add_row(
            Text(when[11:] if narrow else when, "dim"),
            Text(plain(event.pool) or "-"),
            Text(plain(event.device) or "-"),
            Text(state_text(event), _state_style(event)),
            Text(evidence_text(event)),
        )
    return table


def event_line(event: Event) -> str:
    """Return an event as a line of text."""
    where = "  ".join(plain(part) for part in (event.pool, event.device) if part)
    return "  ".join(
        part
        for part in (time_stamp(event.at), where, state_text(event), evidence_text(event))
        if part
    )


def state_text(event: Event) -> str:
    """Return the new state, with the kind of its subject if that is not obvious."""
    said = plain(event.what)
    if event.kind in {"device", "registration"}:
        return said
    return f"{event.kind} {said}"


def evidence_text(event: Event) -> str:
    """Return the evidence, with its source."""
    if event.kind == "registration" and event.what == "registered":
        return f"by {plain(event.source)}"
    source = f"{plain(event.source)}: " if event.source and event.why else ""
    return f"{source}{plain(event.why)}"


def _state_style(event: Event) -> str:
    if event.what in _BAD:
        return "red"
    return "green" if event.what in _GOOD else ""
