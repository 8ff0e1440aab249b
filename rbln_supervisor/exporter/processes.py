"""Process data of the supervisor, its workers and the exporter, from /proc.

A pid from the supervisor may be another process here (in a separate PID namespace): it counts only
if that process has its lock file open.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rbln_supervisor.core.status import NodeStatus
from rbln_worker.contract.pool import PoolName, file_stem

_PROC = Path("/proc")


class Process(NamedTuple):
    """A process."""

    role: str
    """``supervisor``, ``worker``, ``exporter``."""
    pool: str
    """Pool of a worker."""
    rss_bytes: int
    pss_bytes: int | None
    """None if the kernel does not report it."""
    cpu_s: float
    open_fds: int
    started: float
    """Seconds since the epoch."""


def supervised_processes(status: NodeStatus, run_dir: Path) -> Iterator[Process]:
    """Yield the supervised processes that are visible here."""
    booted = _boot_time()
    found = [("supervisor", "", status.supervisor.pid, run_dir / "supervisor.lock")]
    for name, pool in status.pools.items():
        if pool.worker.pid is not None:
            lock = run_dir / "pools" / f"{file_stem(PoolName(name))}.lock"
            found.append(("worker", name, pool.worker.pid, lock))
    for role, pool_name, pid, lock in found:
        try:
            if _has_lock_open(pid, lock):
                yield _read_process(role, pool_name, pid, booted)
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile, or is not visible to us


def own_process() -> Iterator[Process]:
    """Yield this process."""
    try:
        yield _read_process("exporter", "", os.getpid(), _boot_time())
    except (OSError, ValueError, IndexError):
        return


def _has_lock_open(pid: int, lock: Path) -> bool:
    wanted = lock.stat()
    for link in (_PROC / str(pid) / "fd").iterdir():
        try:
            found = link.stat()
        except OSError:  # closed meanwhile
            continue
        if os.path.samestat(found, wanted):
            return True
    return False


def _read_process(role: str, pool: str, pid: int, booted: float) -> Process:
    """Read proc_pid_stat(5), proc_pid_statm(5), proc_pid_smaps(5)."""
    home = _PROC / str(pid)
    # The name is in parentheses and may contain any byte; fields are counted behind it.
    fields = (home / "stat").read_text(errors="replace").rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return Process(
        role=role,
        pool=pool,
        rss_bytes=int((home / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        pss_bytes=_read_pss(home),
        cpu_s=(int(fields[11]) + int(fields[12])) / ticks,
        open_fds=len(os.listdir(home / "fd")),  # noqa: PTH208 - only the names are needed
        started=booted + int(fields[19]) / ticks,
    )


def _read_pss(home: Path) -> int | None:
    try:
        lines = (home / "smaps_rollup").read_text().splitlines()
    except OSError:  # needs further permissions (ptrace), and a kernel with it
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _boot_time() -> float:
    """Return the boot time in seconds since the epoch (proc_stat(5), btime)."""
    lines = (_PROC / "stat").read_text().splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), 0.0)
