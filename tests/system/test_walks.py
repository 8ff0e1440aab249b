"""The event of ARCHITECTURE.md, "One event through the files": real processes call its functions.

The processes record their calls by ``call_recorder/sitecustomize.py``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Final, NamedTuple

import pytest

from tests.sim.stack import REPOSITORY, Stack
from tests.sim.uevents import Injector, pci
from tests.system.scene import ATOM, ATOMS, allocatable, config, pool, pool_status, served
from tests.unit.pages import rows

pytestmark = pytest.mark.system

RECORDER: Final = Path(__file__).parent / "call_recorder"
NPU: Final = ATOMS[3]
PATIENT: Final = pool("ATOM", drivers=["rebellions"], health={"suspectSeconds": 30})
"""A missing node in /dev, which a health check finds first, does not make it Unhealthy."""
STEPS: Final = rows((REPOSITORY / "ARCHITECTURE.md").read_text(), "#")


class Call(NamedTuple):
    """A call of a function, by a process."""

    at: int
    """Monotonic nanoseconds."""
    process: str
    function: str


def documented() -> list[tuple[str, str]]:
    """Return process and function of each step."""
    return [
        (step.cells["process"], f"{step.code('file')}:{step.code('function')}") for step in STEPS
    ]


def recorded(file: Path, pids: dict[int, str], since: int) -> Iterator[Call]:
    """Return the calls in order; a process without a name is a discovery."""
    for line in file.read_text().splitlines():
        at, pid, function = line.split(" ", 2)
        if int(at) >= since:
            yield Call(int(at), pids.get(int(pid), "discovery"), function)


def first_missing(calls: Sequence[Call]) -> tuple[str, str] | None:
    """Return the first step without a call after that of the step before; None: all have one."""
    remaining = iter(sorted(calls))
    for process, function in documented():
        if not any((call.process, call.function) == (process, function) for call in remaining):
            return process, function
    return None


def test_an_unplugged_npu_passes_through_the_documented_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "calls"
    monkeypatch.setenv("PYTHONPATH", str(RECORDER))
    monkeypatch.setenv("RBLN_CALLS", str(file))
    monkeypatch.setenv("RBLN_CALLED", " ".join(function for _, function in documented()))
    with Stack(config(PATIENT), arguments=("--rescan-interval", "3600"), links={}) as stack:
        served(stack, ATOM)
        pids = {stack.pid: "supervisor", stack.workers()[ATOM]: "worker"}
        with Injector(stack.pid) as tell:
            began = monotonic_ns()
            stack.node.remove(NPU)
            tell(pci("unbind", NPU), pci("remove", NPU))
            allocatable(stack, ATOM, len(ATOMS) - 1)
        pool_status(
            stack,
            ATOM,
            lambda seen: seen.devices[NPU].reason == "unplugged",
            what="the supervisor has the worker's report",
        )
        assert stack.kubelet.resource(ATOM).devices[NPU].health == "Unhealthy"
        calls = [*recorded(file, pids, began)]
    assert first_missing(calls) is None
    # A discovery that did not run, or another order, would be found.
    assert first_missing([call for call in calls if call.process != "discovery"])
    assert first_missing([call._replace(at=-call.at) for call in calls])
