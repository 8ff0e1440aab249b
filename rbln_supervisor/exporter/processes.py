"""What /proc says of the supervisor, its workers and ourselves.

A pid of the supervisor's need not mean the same process here (a PID namespace of our own): one is
believed only if it has its lock file open.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rbln_supervisor.core.status import NodeStatus
from rbln_worker.contract.pool import PoolName, stem

_PROC = Path("/proc")


class Process(NamedTuple):
    """A process."""

    role: str
    """``supervisor``, ``worker``, ``exporter``."""
    pool: str
    """A worker's."""
    rss_bytes: int
    pss_bytes: int | None
    """None where the kernel doesn't say."""
    cpu_s: float
    open_fds: int
    started: float
    """Seconds since the epoch."""


def visible(status: NodeStatus, run_dir: Path) -> Iterator[Process]:
    """Those that can be seen from here."""
    booted = _booted()
    found = [("supervisor", "", status.supervisor.pid, run_dir / "supervisor.lock")]
    for name, pool in status.pools.items():
        if pool.worker.pid is not None:
            lock = run_dir / "pools" / f"{stem(PoolName(name))}.lock"
            found.append(("worker", name, pool.worker.pid, lock))
    for role, pool_name, pid, lock in found:
        try:
            if _holds(pid, lock):
                yield _read(role, pool_name, pid, booted)
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile, or is not ours to see


def ourselves() -> Iterator[Process]:
    """This process."""
    try:
        yield _read("exporter", "", os.getpid(), _booted())
    except (OSError, ValueError, IndexError):
        return


def _holds(pid: int, lock: Path) -> bool:
    wanted = lock.stat()
    for link in (_PROC / str(pid) / "fd").iterdir():
        try:
            found = link.stat()
        except OSError:  # closed meanwhile
            continue
        if os.path.samestat(found, wanted):
            return True
    return False


def _read(role: str, pool: str, pid: int, booted: float) -> Process:
    """proc_pid_stat(5), proc_pid_statm(5), proc_pid_smaps(5)."""
    home = _PROC / str(pid)
    # The name stands in brackets and may have any byte in it; fields are counted from after it.
    fields = (home / "stat").read_text(errors="replace").rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return Process(
        role=role,
        pool=pool,
        rss_bytes=int((home / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        pss_bytes=_pss(home),
        cpu_s=(int(fields[11]) + int(fields[12])) / ticks,
        open_fds=len(os.listdir(home / "fd")),  # noqa: PTH208 - names are all that is wanted
        started=booted + int(fields[19]) / ticks,
    )


def _pss(home: Path) -> int | None:
    try:
        lines = (home / "smaps_rollup").read_text().splitlines()
    except OSError:  # needs more rights than the rest (ptrace), and a kernel that has it
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _booted() -> float:
    """When the machine did, in seconds since the epoch (proc_stat(5), btime)."""
    lines = (_PROC / "stat").read_text().splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), 0.0)
