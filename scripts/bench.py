"""Latency, memory and idle CPU of the real processes: medians of some rounds, on a simulated node.

Times are what the simulated kubelet saw, from the cause to the ListAndWatch message. Figures of one
run compare with each other; this says nothing of another machine.
"""

import os
import signal
import statistics
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from rich.console import Console
from rich.table import Table

from rbln_supervisor.core.commands import Rescan
from rbln_supervisor.ctl.client import ask
from tests.sim import network
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import Link, npus
from tests.sim.stack import Stack
from tests.sim.uevents import Injector, pci

ROUNDS: Final = 7
EVENTS: Final = 100
PAUSE_S: Final = 0.3
"""Between two changes: bursts are taken together, which is not what is measured."""
CALLS: Final = 1000
IDLE_S: Final = 20.0
EACH_ALONE: Final = {"probation": {"againSeconds": 0.05, "mostSeconds": 0.05}}
"""Each change is one of its own here, and not a device that flaps."""

table = Table(box=None, pad_edge=False)
table.add_column("figure")
table.add_column("measured", justify="right")


def main() -> int:
    """Measure and print."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    for pools, each in ((3, 16), (8, 16), (8, 128)):
        start(pools, each)
    with pools_of(3, 16) as stack:
        allocate(stack)
        worker_killed(stack)
        supervisor_killed(stack)
        memory(stack)
        idle(stack)
    with pools_of(8, 16) as stack:
        kubelet_restarted(stack)
        stop(stack)
    driver_changed()
    for others in (0, 1024):
        kernel_spoke(others)
    link_changed()
    console.print(table)
    return 0


def start(pools: int, each: int) -> None:
    """From the first process to the last pool's list."""
    took = []
    for _ in range(3):
        stack = make(pools, each)
        began = monotonic()
        with stack:
            wait_listed(stack)
            took.append(last_listed(stack) - began)
    row(f"start → {pools} pools with {pools * each} devices listed", seconds(took))


def allocate(stack: Stack) -> None:
    """Allocate of two devices, from the client's call to its answer."""
    name = names(3)[0]
    ids = sorted(stack.kubelet.resource(name).devices)[:2]
    took = []
    for _ in range(CALLS):
        began = monotonic()
        stack.kubelet.allocate(name, [ids])
        took.append(monotonic() - began)
    took.sort()
    row(
        f"Allocate of 2 devices, p50 / p99 of {CALLS}",
        f"{took[CALLS // 2] * 1e6:.0f} / {took[CALLS * 99 // 100] * 1e6:.0f} µs",
    )


def worker_killed(stack: Stack) -> None:
    """From SIGKILL to the list of the next life; every round is a first death."""
    took = []
    for name in names(3):
        old = stack.kubelet.resource(name).endpoint
        began = monotonic()
        os.kill(stack.workers()[name], signal.SIGKILL)
        listed_anew(stack, name, old)
        took.append(last_listed(stack) - began)
    row("worker killed → its pool listed again", seconds(took))


def supervisor_killed(stack: Stack) -> None:
    """From SIGKILL to a next one, started at once, that has adopted all workers and says ready."""
    took = []
    before = len(stack.kubelet.messages())
    for _ in range(ROUNDS):
        began = monotonic()
        stack.kill()
        stack.start()
        stack.wait_status(lambda status: status.supervisor.ready, what="the next one is ready")
        took.append(monotonic() - began)
    row("supervisor killed, started → workers adopted, ready", seconds(took))
    messages = len(stack.kubelet.messages()) - before
    row(f"… messages to the kubelet, of {ROUNDS} times", str(messages))


def listed_anew(stack: Stack, name: str, former: str | None) -> None:
    """Until the pool is listed whole by another endpoint."""
    stack.kubelet.wait(
        lambda k: k.resource(name).endpoint != former and k.resource(name).allocatable == 16,
        what="listed by the next worker",
    )


def driver_changed() -> None:
    """From the request for a look to the message, after a driver was unbound or bound.

    The device has no node in /dev: whose coming and going would be seen without being asked.
    """
    card = SimDevice(bdf="0000:41:00.0", vendor="8086", device="0d90", driver="dfl-pci")
    selectors = {"drivers": [card.driver]}
    pool = {
        "resourceName": "F",
        "deviceType": "accelerator",
        "selectors": selectors,
        "health": EACH_ALONE,
    }
    went: list[float] = []
    came: list[float] = []
    with Stack({"resourceList": [pool]}, lambda node: node.add(card)) as stack:
        wait_listed(stack)
        for _ in range(ROUNDS):
            stack.node.unbind(card.bdf)
            went.append(rescanned(stack, healthy=0))
            stack.node.bind(card.bdf, "dfl-pci")
            came.append(rescanned(stack, healthy=1))
    row("rescan after a driver went → message", seconds(went))
    row("rescan after a driver came → message, 50 ms on probation", seconds(came))


def rescanned(stack: Stack, *, healthy: int) -> float:
    """Seconds from a request for a look to the message that it led to."""
    began = monotonic()
    ask(stack.run_dir, Rescan())
    stack.kubelet.wait_listed("intel.com/F", healthy, 1)
    return last_listed(stack) - began


def kernel_spoke(others: int) -> None:
    """From a uevent to the message, after a driver was unbound or bound.

    Args:
        others: devices of the node beside the one that changes.
    """
    card = SimDevice(bdf="0000:f1:00.0", vendor="8086", device="0d90", driver="dfl-pci")
    selectors = [{"drivers": [card.driver]}, {"drivers": ["rebellions"]}]
    pools = [
        {
            "resourceName": name,
            "deviceType": "accelerator",
            "selectors": wanted,
            "health": EACH_ALONE,
        }
        for name, wanted in zip("FN", selectors, strict=True)
    ]
    took: tuple[list[float], list[float]] = ([], [])
    with Stack(
        {"resourceList": pools}, lambda node: node.add(card, *npus(others)), links={}
    ) as stack:
        wait_listed(stack)
        with Injector(stack.pid) as tell:
            for change in range(EVENTS):
                if change % 2:
                    stack.node.bind(card.bdf, "dfl-pci")
                else:
                    stack.node.unbind(card.bdf)
                began = monotonic()
                tell(pci("bind" if change % 2 else "unbind", card.bdf))
                stack.kubelet.wait_listed("intel.com/F", change % 2, 1)
                took[change % 2].append(last_listed(stack) - began)
                threading.Event().wait(PAUSE_S)
    for what, times in zip(("unbind", "bind, 50 ms on probation"), took, strict=True):
        said = f"{what} → message, {others + 1} devices, p50 / p99 of {len(times)}"
        row(said, quantiles(times))


def link_changed() -> None:
    """From a link's loss of carrier, or its return, to the message that its VFs have changed."""
    pf = SimDevice("0000:5e:00.0", "8086", "1592", "020000", "ice", net=("p0",), totalvfs=8)
    vfs = [
        SimDevice(f"0000:5e:02.{n}", "8086", "1889", "020000", "iavf", pf=pf.bdf) for n in range(8)
    ]
    pool = {
        "resourceName": "V",
        "selectors": {"pfNames": ["p0"]},
        "health": EACH_ALONE,
    }
    downs: list[float] = []
    ups: list[float] = []
    with Stack(
        {"resourceList": [pool]}, lambda node: node.add(pf, *vfs), links={"p0": Link(pair=True)}
    ) as stack:
        stack.kubelet.wait_listed("intel.com/V", len(vfs))
        peer = network.peer("p0")
        for _ in range(EVENTS // 2):
            for took, state, healthy in ((downs, "down", 0), (ups, "up", len(vfs))):
                began = monotonic()
                network.run(stack.pid, f"ip link set {peer} {state}")
                stack.kubelet.wait_listed("intel.com/V", healthy, len(vfs))
                took.append(last_listed(stack) - began)
                threading.Event().wait(PAUSE_S)
    row(f"link lost → message, p50 / p99 of {len(downs)}", quantiles(downs))
    row(f"link back → message, p50 / p99 of {len(ups)}", quantiles(ups))


def kubelet_restarted(stack: Stack) -> None:
    """From the kubelet's start to the last pool's list."""
    took = []
    for _ in range(ROUNDS):
        stack.kubelet.stop()
        began = monotonic()
        stack.kubelet.start()
        wait_listed(stack)
        took.append(last_listed(stack) - began)
    row("kubelet restart → 8 pools listed again", seconds(took))


def stop(stack: Stack) -> None:
    """From SIGTERM to the end of the supervisor, with 8 workers."""
    row("SIGTERM → all ended, 8 workers", seconds([stack.stop().seconds]))


def memory(stack: Stack) -> None:
    """Of all processes with 3 pools, and of a worker's own pages."""
    workers = list(stack.workers().values())
    shares = [smaps(pid) for pid in (stack.pid, *workers)]
    row("memory, 3 pools: PSS of all processes", f"{sum(s['Pss'] for s in shares) / 1024:.1f} MiB")
    private = [s["Private_Dirty"] + s["Private_Clean"] for s in shares[1:]]
    row("memory: private pages of a worker", f"{statistics.median(private) / 1024:.1f} MiB")


def idle(stack: Stack) -> None:
    """CPU of all processes while nothing happens."""
    pids = (stack.pid, *stack.workers().values())
    before, began = sum(map(cpu_s, pids)), monotonic()
    threading.Event().wait(IDLE_S)
    used = (sum(map(cpu_s, pids)) - before) / (monotonic() - began)
    row(f"idle CPU of all processes, 3 pools, over {IDLE_S:.0f} s", f"{used * 100:.2f} % of a core")


def names(pools: int) -> list[str]:
    """The pools' names."""
    return [f"rebellions.ai/P{n}" for n in range(pools)]


def make(pools: int, each: int) -> Stack:
    """A stack that isn't started yet."""
    devices = npus(pools * each)

    def build(node: SimNode) -> None:
        node.add(*devices)

    return Stack(
        {
            "resourceList": [
                {
                    "resourceName": f"P{n}",
                    "resourcePrefix": "rebellions.ai",
                    "deviceType": "accelerator",
                    "selectors": {
                        "pciAddresses": [d.bdf for d in devices[n * each : (n + 1) * each]]
                    },
                }
                for n in range(pools)
            ]
        },
        build,
    )


@contextmanager
def pools_of(pools: int, each: int) -> Iterator[Stack]:
    """A stack whose pools are listed."""
    with make(pools, each) as stack:
        wait_listed(stack)
        yield stack


def wait_listed(stack: Stack) -> None:
    """Until the kubelet has every device of every configured pool as healthy."""
    count = len(stack.node.devices)
    stack.kubelet.wait(
        lambda k: sum(one.allocatable for one in k.resources.values()) == count, what="all listed"
    )


def last_listed(stack: Stack) -> float:
    """When the last ListAndWatch message came (monotonic seconds)."""
    return stack.kubelet.messages()[-1].at


def smaps(pid: int) -> Mapping[str, int]:
    """A process's memory in KiB (proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far (Documentation/scheduler/sched-stats.rst: ns a thread)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9


def seconds(took: list[float]) -> str:
    """Median and range."""
    least, middle, most = (1000 * s for s in (min(took), statistics.median(took), max(took)))
    return f"{middle:.0f} ms ({least:.0f} to {most:.0f})"


def quantiles(took: list[float]) -> str:
    """Of latencies."""
    ordered = sorted(took)
    middle, most = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"{middle * 1000:.0f} / {most * 1000:.0f} ms"


def row(figure: str, measured: str) -> None:
    """A line of the table."""
    table.add_row(figure, measured)


if __name__ == "__main__":
    sys.exit(main())
