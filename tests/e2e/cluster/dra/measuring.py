"""Reads for figures: durations that the kubelet measured, times of containers, use of a process."""

import os
import re
import ssl
import statistics
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from tests.bench.measuring import cpu_s, private_kib, smaps
from tests.e2e.cluster.api import headers
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.dra.claims import ClaimPod
from tests.e2e.cluster.pods import Container

POLL_S: Final = 0.002
DEADLINE_S: Final = 60.0
_DRA_SAMPLE: Final = re.compile(r"dra_grpc_operations_duration_seconds_(sum|count)\{(.*)\} (\S+)")


class Spent(NamedTuple):
    """What the kubelet's metrics say of the calls of one method."""

    seconds: float
    calls: int

    def since(self, before: "Spent") -> float | None:
        """Seconds of a call since then, on average; None without any."""
        calls = self.calls - before.calls
        return (self.seconds - before.seconds) / calls if calls else None


class Use(NamedTuple):
    """What a process uses."""

    private_mib: float
    resident_mib: float

    @classmethod
    def of_process(cls, pid: int) -> "Use":
        """Its memory now."""
        return cls(private_kib(pid) / 1024, smaps(pid).get("Rss", 0) / 1024)


def dra_calls(cluster: Cluster, driver: str, method: str) -> Spent:
    """The calls of a driver's method, by the kubelet's metrics."""
    context = ssl._create_unverified_context()  # noqa: S323 - its own certificate
    request = urllib.request.Request(
        f"https://127.0.0.1:{cluster.ports.kubelet}/metrics", headers=dict(headers())
    )
    with urllib.request.urlopen(request, context=context, timeout=10) as response:  # noqa: S310
        text = response.read().decode()
    values = {"sum": 0.0, "count": 0.0}
    for kind, labels, value in _DRA_SAMPLE.findall(text):
        if f'driver_name="{driver}"' in labels and method in labels:
            values[kind] += float(value)
    return Spent(values["sum"], int(values["count"]))


def time_to_run(make: Callable[[], ClaimPod]) -> tuple[ClaimPod, float]:
    """Make a pod; seconds until its status shows a running container."""
    began = monotonic()
    pod = make()
    wait_soon(lambda: _is_running(pod), what=f"pod {pod.name} runs")
    return pod, monotonic() - began


def wait_soon(condition: Callable[[], object], *, what: str) -> float:
    """Wait with a poll every 2 ms; seconds it took."""
    began = monotonic()
    while not condition():
        assert monotonic() - began < DEADLINE_S, f"not in {DEADLINE_S} s: {what}"
        time.sleep(POLL_S)
    return monotonic() - began


def share_of_core(pids: Sequence[int], seconds: float) -> list[float]:
    """The share of a core that each process uses, in percent, over so many seconds."""
    before = [cpu_s([pid]) for pid in pids]
    time.sleep(seconds)
    return [100 * (cpu_s([pid]) - spent) / seconds for pid, spent in zip(pids, before, strict=True)]


def host_pid(container: Container, pid: int) -> int:
    """The machine's number of a process of a container (proc_pid_status(5): NSpid)."""
    namespace = Path(f"/proc/{container.pid}/ns/pid").readlink()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "ns/pid").readlink() == namespace:
                numbers = re.search(r"^NSpid:(.*)$", (folder / "status").read_text(), re.MULTILINE)
                if numbers and int(numbers[1].split()[-1]) == pid:
                    return int(folder.name)
    raise AssertionError(f"no process {pid} in container {container.id}")


def started_at(pid: int) -> float:
    """When a process began (monotonic seconds, to 10 ms)."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def p50(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """The 99th percentile; the largest of fewer than 100."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def _is_running(pod: ClaimPod) -> bool:
    states: Sequence[Mapping[str, Mapping[str, object]]] = pod.status.get("containerStatuses") or ()
    return any("running" in one["state"] for one in states)
