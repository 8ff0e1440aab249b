"""The metrics of the supervisor's, the workers' and the exporter's processes, from /proc.

A pid from the supervisor may be another process here (in a separate PID namespace): it counts only
if that process has its lock file open.
"""

import os
from pathlib import Path

from prometheus_client.process_collector import ProcessCollector

from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.exporter.families import Page
from rbln_worker.contract.pool import PoolName, file_stem


def fill_processes(page: Page, run_dir: Path, status: NodeStatus | None) -> None:
    """Add the metrics of the exporter and of the supervised processes that are visible here."""
    fill_process(page, os.getpid(), "exporter", "")
    if status is None:
        return
    found = [("supervisor", "", status.supervisor.pid, run_dir / "supervisor.lock")]
    for name, pool in status.pools.items():
        if pool.worker.pid is not None:
            lock = run_dir / "pools" / f"{file_stem(PoolName(name))}.lock"
            found.append(("worker", name, pool.worker.pid, lock))
    for role, name, pid, lock in found:
        if _has_lock_open(pid, lock):
            fill_process(page, pid, role, name)


def _has_lock_open(pid: int, lock: Path) -> bool:
    """Return False also if the process has ended or is not visible to us."""
    try:
        wanted = lock.stat()
        links = tuple(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for link in links:
        try:
            if os.path.samestat(link.stat(), wanted):
                return True
        except OSError:  # closed meanwhile
            continue
    return False


def fill_process(page: Page, pid: int, role: str, pool: str) -> None:
    """Add the metrics of one process, as far as /proc shows them."""
    for family in ProcessCollector("rbln", pid=lambda: pid, registry=None).collect():
        for sample in family.samples:
            if sample.name in page:  # not all that the library has
                page.add_sample(sample.name, sample.value, role, pool)
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # needs further permissions (ptrace), and a kernel with it
        return
    for line in lines:
        if line.startswith("Pss:"):
            pss = int(line.split()[1]) * 1024
            page.add_sample("rbln_process_proportional_memory_bytes", pss, role, pool)
