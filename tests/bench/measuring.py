"""Samples to figures, and what the kernel says of processes."""

import gc
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench.values import Figure, Unit


def figure(name: str, size: str, unit: Unit, samples: Sequence[float], why: str = "") -> Figure:
    """What is kept of samples; ``why`` where there are none."""
    if not samples:
        return Figure(name, size, unit, 0, why=why or "never")
    ordered = sorted(samples)
    return Figure(
        name,
        size,
        unit,
        len(ordered),
        statistics.median(ordered),
        ordered[len(ordered) * 99 // 100],
        ordered[0],
        ordered[-1],
    )


def calm() -> None:
    """Let no collection of what is there now be in some latency: a node is thousands of objects."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def smaps(pid: int) -> Mapping[str, int]:
    """A process's memory in KiB (proc_pid_smaps(5)); nothing of one that is no more."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def total_kib(pids: Iterable[int], kind: str) -> int:
    """The sum of one kind (``Pss``, ``Rss``) over processes."""
    return sum(smaps(pid).get(kind, 0) for pid in pids)


def private_kib(pid: int) -> int:
    """A process's own pages."""
    memory = smaps(pid)
    return memory.get("Private_Dirty", 0) + memory.get("Private_Clean", 0)


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of processes so far (Documentation/scheduler/sched-stats.rst: ns a thread)."""
    spent_ns = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                spent_ns += int(thread.read_text().split()[0])
            except OSError:
                continue  # it ended meanwhile
    return spent_ns / 1e9
