"""Memory and descriptors of processes, as the kernel counts them."""

from collections.abc import Iterable
from pathlib import Path

from tests.chaos.report import Memory


def memory(pids: Iterable[int]) -> Memory:
    """Of those that live."""
    each = [(pss, fds) for pid in pids if (pss := pss_kib(pid)) and (fds := descriptors(pid))]
    return Memory(len(each), sum(pss for pss, _ in each), sum(fds for _, fds in each))


def pss_kib(pid: int) -> int:
    """Proportional share in KiB; 0 where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def descriptors(pid: int) -> int:
    """How many are open; 0 where the process is gone."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0
