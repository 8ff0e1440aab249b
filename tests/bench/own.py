"""Our plugin on a node of one size, figure by figure."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from rbln_supervisor.core.control.protocol import Rescan
from rbln_supervisor.ctl.client import send_request
from tests.bench import calls, scene
from tests.bench.measuring import calm, cpu_s, figure, private_kib, total_kib
from tests.bench.pages import together_kib
from tests.bench.roll import Roll
from tests.bench.values import Figure, Rounds, Unit
from tests.sim.stack import Stack
from tests.sim.uevents import Injector, pci

PAUSE_S: Final = 0.3
"""Between two changes: bursts are taken together, which is not what is measured."""


@dataclass
class Running:
    """A started plugin, all of whose devices are listed."""

    size: scene.Size
    rounds: Rounds
    stack: Stack
    roll: Roll
    namespace: bool
    """This process has a network namespace of its own, where it may speak as the kernel does."""

    def figure(self, name: str, unit: Unit, samples: Sequence[float], why: str = "") -> Figure:
        """A figure of this size."""
        return figure(name, self.size.name, unit, samples, why)


def measured(
    size: scene.Size, rounds: Rounds, groups: Collection[str], *, namespace: bool
) -> Iterator[Figure]:
    """The figures of some groups, in GROUPS' order."""
    devices = scene.with_loner(size)
    stack = Stack(scene.config(size, devices), lambda node: node.add(*devices))
    calm()
    roll = Roll(stack.kubelet)
    with stack:
        roll.listed_s(size.devices, 0.0)
        running = Running(size, rounds, stack, roll, namespace)
        for name, group in GROUPS.items():
            if name in groups:
                print(f"bench: {size.name}, {name}", file=sys.stderr, flush=True)
                yield from group(running)


def start(running: Running) -> Iterator[Figure]:
    """From the first process to the last pool's list, and from SIGTERM to the last one's end.

    The node was looked at before: what is not measured is the disk.
    """
    stack, starts, stops = running.stack, [], []
    for _ in range(running.rounds.starts):
        stops.append(stack.stop().seconds)
        running.roll.listed_s(0, 0.0)
        began = monotonic()
        stack.start()
        starts.append(running.roll.listed_s(running.size.devices, began))
    yield running.figure("start", "s", starts)
    yield running.figure("stop", "s", stops)


def allocate(running: Running) -> Iterator[Figure]:
    """From the client's call to its answer, and the same of an empty server."""
    resource = running.size.resources[0]
    ours, empty = calls.allocate_and_floor(running.stack.kubelet, resource, running.rounds.calls)
    yield running.figure("allocate", "s", ours)
    yield running.figure("allocate-floor", "s", empty)


def prefer(running: Running) -> Iterator[Figure]:
    """From the client's call to its answer."""
    yield _called(running, "prefer", calls.prefer)


def memory(running: Running) -> Iterator[Figure]:
    """Of all processes, of the supervisor, and what only a worker has."""
    stack = running.stack
    pids = stack.processes()
    yield running.figure("frames", "KiB", together_kib(pids), "needs root")
    yield running.figure("rss", "KiB", [total_kib(pids, "Rss")])
    yield running.figure("pss", "KiB", [total_kib(pids, "Pss")])
    workers = [private_kib(pid) for pid in stack.workers().values()]
    yield running.figure("worker-private", "KiB", list(map(float, workers)))
    yield running.figure("supervisor-pss", "KiB", [total_kib((stack.pid,), "Pss")])


def idle(running: Running) -> Iterator[Figure]:
    """While nothing happens."""
    pids = running.stack.processes()
    yield running.figure("idle", "cores", [idle_cores(pids, running.rounds.idle_s)])


def idle_cores(pids: Collection[int], seconds: float) -> float:
    """CPU of processes over a time."""
    before, began = cpu_s(pids), monotonic()
    threading.Event().wait(seconds)
    return (cpu_s(pids) - before) / (monotonic() - began)


def driver(running: Running) -> Iterator[Figure]:
    """From the kernel's word to the message, after a driver was unbound or bound."""
    if not running.namespace:
        for name in ("driver-gone", "driver-back"):
            yield running.figure(name, "s", [], "no namespace")
        return
    with Injector(running.stack.pid) as tell:

        def told(action: str) -> None:
            tell(pci(action, scene.LONER.bdf))

        yield from _gone_and_back(running, "driver", told, running.rounds.events)


def npu(running: Running) -> Iterator[Figure]:
    """From the first file that goes with an NPU's driver to the message; each time another NPU."""
    stack, last, took = running.stack, running.size.resources[-1], []
    if running.namespace:
        with Injector(stack.pid) as tell:
            npus = scene.npus(running.size.devices)[-running.size.each : -1]
            for one in npus[: running.rounds.lives]:
                began = monotonic()
                stack.node.unbind(one.bdf)
                tell(pci("unbind", one.bdf))
                took.append(running.roll.message_s(last, running.size.each - 1, began))
                stack.node.bind(one.bdf, "rebellions")
                tell(pci("bind", one.bdf))
                running.roll.message_s(last, running.size.each, began)
                threading.Event().wait(PAUSE_S)
    yield running.figure("npu-gone", "s", took, "no namespace")


def rescan(running: Running) -> Iterator[Figure]:
    """From the request for a look to the message."""

    def asked(_: str) -> None:
        send_request(running.stack.run_dir, Rescan())

    yield from _gone_and_back(running, "rescan", asked, running.rounds.lives)


def kubelet(running: Running) -> Iterator[Figure]:
    """From the kubelet's start to the last pool's list."""
    took = []
    for _ in range(running.rounds.lives):
        running.stack.kubelet.stop()
        running.roll.listed_s(0, 0.0)
        began = monotonic()
        running.stack.kubelet.start()
        took.append(running.roll.listed_s(running.size.devices, began))
    yield running.figure("kubelet", "s", took)


def worker(running: Running) -> Iterator[Figure]:
    """From SIGKILL to the list of the next life; every round is a first death."""
    took = []
    for name in running.size.resources[: running.rounds.lives]:
        streams, pid = running.roll.streams(name), running.stack.workers()[name]
        began = monotonic()
        os.kill(pid, signal.SIGKILL)
        took.append(running.roll.again_s(name, streams, running.size.devices, began))
    yield running.figure("worker", "s", took)


def supervisor(running: Running) -> Iterator[Figure]:
    """From SIGKILL to a next one, started at once, that has adopted all workers and says ready."""
    stack, took = running.stack, []
    before = len(stack.kubelet.messages())
    for _ in range(running.rounds.lives):
        began = monotonic()
        stack.kill()
        stack.start()
        stack.wait_status(lambda status: status.supervisor.ready, 60.0, what="the next is ready")
        took.append(monotonic() - began)
    yield running.figure("supervisor", "s", took)
    messages = len(stack.kubelet.messages()) - before
    yield running.figure("supervisor-messages", "", [messages])


GROUPS: Final[Mapping[str, Callable[[Running], Iterator[Figure]]]] = {
    "start": start,
    "allocate": allocate,
    "prefer": prefer,
    "memory": memory,
    "idle": idle,
    "driver": driver,
    "npu": npu,
    "rescan": rescan,
    "kubelet": kubelet,
    "worker": worker,
    "supervisor": supervisor,
}
"""In this order: memory is that of a plugin that was asked things, deaths are at the end."""


def _called(running: Running, name: str, call: Callable[..., list[float]]) -> Figure:
    samples, why = calls.answered(
        call, running.stack.kubelet, running.size.resources[0], running.rounds.calls
    )
    return running.figure(name, "s", samples, why)


def _gone_and_back(
    running: Running, what: str, tell: Callable[[str], None], times: int
) -> Iterator[Figure]:
    """LONER loses its driver and gets it back, so many times; ``tell`` says unbind or bind."""
    node, last, driver_name = running.stack.node, running.size.resources[-1], scene.LONER.driver
    assert driver_name is not None
    gone: list[float] = []
    back: list[float] = []
    for _ in range(times):
        node.unbind(scene.LONER.bdf)
        began = monotonic()
        tell("unbind")
        gone.append(running.roll.message_s(last, running.size.each - 1, began))
        threading.Event().wait(PAUSE_S)
        node.bind(scene.LONER.bdf, driver_name)
        began = monotonic()
        tell("bind")
        back.append(running.roll.message_s(last, running.size.each, began))
        threading.Event().wait(PAUSE_S)
    yield running.figure(f"{what}-gone", "s", gone)
    yield running.figure(f"{what}-back", "s", back)
