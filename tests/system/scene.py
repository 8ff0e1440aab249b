"""What the system tests say again and again: configurations, waits, and that nobody noticed."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple, Protocol

import grpc

from rbln_supervisor.core.status import NodeStatus, PoolStatus
from rbln_worker.contract.problem import Problem
from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_records import Closed, Listed, Opened, Record
from tests.sim.stack import REPOSITORY, Stack
from tests.sim.waiting import pauses

ATOM: Final = "rebellions.ai/ATOM"
VM: Final = "rebellions.ai/VM"
ATOMS: Final = tuple(f"0000:{bus}:00.0" for bus in (20, 21, 22, 23))
"""The devices of the demo node that match ATOM."""
VMS: Final = tuple(f"0000:{bus}:00.0" for bus in (60, 61))
"""… and those that match VM."""

_CALL_AGAIN_S: Final = 0.02


def pool(name: str, *, prefix: str = "rebellions.ai", **rest: object) -> dict[str, object]:
    """A pool of the configuration file; selectors are told apart from the rest by their plural."""
    keys = ("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes")
    return {
        "resourceName": name,
        "resourcePrefix": prefix,
        "deviceType": "accelerator",
        "selectors": {key: value for key, value in rest.items() if key in keys},
        **{key: value for key, value in rest.items() if key not in keys},
    }


def config(*pools: dict[str, object]) -> dict[str, object]:
    """A configuration file."""
    return {"resourceList": list(pools)}


ATOM_POOL: Final = pool("ATOM", drivers=["rebellions"], allowCrossNuma=True)
VM_POOL: Final = pool("VM", drivers=["vfio-pci"])
TWO_POOLS: Final = config(ATOM_POOL, VM_POOL)


def served(stack: Stack, *names: str, deadline_s: float = 30.0) -> NodeStatus:
    """Wait until the kubelet has heard the devices of these pools; then the status."""
    stack.kubelet.wait(
        lambda k: all(k.resource(name).allocatable for name in names or (ATOM, VM)),
        deadline_s,
        what="every pool has something to give out",
    )
    return stack.wait_status(
        lambda status: all(
            name in status.pools and status.pools[name].state == "serving"
            for name in names or (ATOM, VM)
        ),
        deadline_s,
        what="every pool serves",
    )


def allocatable(stack: Stack, name: str, count: int, deadline_s: float = 30.0) -> None:
    """Wait until the kubelet sees so many healthy devices."""
    stack.kubelet.wait(
        lambda k: k.resource(name).allocatable == count,
        deadline_s,
        what=f"{count} healthy devices of {name}",
    )


def pool_status(
    stack: Stack, name: str, condition: Callable[[PoolStatus], object], *, what: str
) -> PoolStatus:
    """The pool's status as soon as a condition holds for it."""
    status = stack.wait_status(
        lambda status: name in status.pools and condition(status.pools[name]), what=what
    )
    return status.pools[name]


def texts(problems: Iterable[Problem]) -> tuple[str, ...]:
    """What a status or a reply says of problems."""
    return tuple(problem.text for problem in problems)


def eventually(condition: Callable[[], object], *, what: str, deadline_s: float = 30.0) -> None:
    """Wait for what has no event: a file, say; AssertionError if it doesn't come."""
    end, pause = monotonic() + deadline_s, pauses()
    while not condition():
        assert monotonic() < end, f"not within {deadline_s} s: {what}"
        sleep(next(pause))


class Scene(Protocol):
    """What can be seen of a system, wherever it runs."""

    @property
    def kubelet(self) -> SimKubelet:
        """Its kubelet."""

    def status(self) -> NodeStatus:
        """What the supervisor says."""

    def story(self) -> str:
        """What everybody saw."""


class Sight(NamedTuple):
    """All that could tell a pool's users that something happened."""

    pid: int | None
    restarts: int
    endpoint: str | None
    records: tuple[Record, ...]


def sight(stack: Scene, name: str) -> Sight:
    """What is seen of a pool now."""
    seen = stack.status().pools[name]
    records = tuple(record for record in stack.kubelet.records if record.resource == name)
    return Sight(seen.worker.pid, seen.worker.restarts, seen.endpoint, records)


@contextmanager
def untouched(stack: Scene, *names: str) -> Iterator[None]:
    """Whatever the block does, these pools' users notice nothing.

    Same worker, same socket, no message, no end of a stream, and none of the calls fails that are
    made all the time. The block ends with something that would have come after all of that.
    """
    before = {name: sight(stack, name) for name in names}
    failures: list[str] = []
    over = threading.Event()

    def call(name: str) -> None:
        device = next(iter(stack.kubelet.resource(name).devices))
        calls = 0
        while not over.wait(_CALL_AGAIN_S) or not calls:
            calls += 1
            try:
                stack.kubelet.allocate(name, [[device]])
            except grpc.RpcError as error:
                failures.append(f"{name}: {error}")
                return

    threads = [threading.Thread(target=call, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures, f"{failures}\n{stack.story()}"
    assert {name: sight(stack, name) for name in names} == before, stack.story()


def streams(stack: Stack, name: str) -> tuple[str, ...]:
    """The sockets on which the kubelet holds a stream of the resource."""
    sockets: list[str] = []
    for record in stack.kubelet.records:
        match record:
            case Opened(resource=resource, endpoint=endpoint) if resource == name:
                sockets.append(endpoint)
            case Closed(resource=resource, endpoint=endpoint) if resource == name:
                sockets.remove(endpoint)
            case _:
                pass
    return tuple(sockets)


def lowest_allocatable(kubelet: SimKubelet, name: str) -> int:
    """The least that a kubelet with a client for each socket had to give out, after the first."""
    healthy: dict[str, int] = {}
    lowest: int | None = None
    for record in kubelet.records:
        match record:
            case Listed(resource=resource, endpoint=endpoint, devices=devices) if resource == name:
                healthy[endpoint] = sum(d.health == "Healthy" for d in devices.values())
            case Closed(resource=resource, endpoint=endpoint) if resource == name:
                healthy.pop(endpoint, None)
            case _:
                continue
        now = next(reversed(healthy.values()), 0)
        lowest = now if lowest is None else min(lowest, now)
    assert lowest is not None, f"{name} was never listed"
    return lowest


def sockets(stack: Stack) -> set[str]:
    """The names of all plugins' sockets in the kubelet's folders."""
    return {
        path.name
        for folder in (stack.kubelet.plugins, stack.kubelet.registry)
        if folder.is_dir()
        for path in folder.iterdir()
        if path.is_socket() and path.name != "kubelet.sock"
    }


def supervisor(*arguments: str | Path) -> Sequence[str | Path]:
    """The command that starts a supervisor."""
    return (sys.executable, "-m", "rbln_supervisor", *arguments)


def run_supervisor(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a supervisor that is going to end by itself."""
    return subprocess.run(
        supervisor(*arguments),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def details_of(error: BaseException) -> str:
    """The text of the status that a failed call ended with."""
    assert isinstance(error, grpc.Call)
    return error.details()
