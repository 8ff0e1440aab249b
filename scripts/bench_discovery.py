"""What a look at the node costs, on simulated nodes of growing size; figures, no verdict.

The trees lie in memory where there is /dev/shm, so that what is measured is the look and not a
disk; sysfs makes its files when they are read, which takes about as long.
"""

import argparse
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Final, NamedTuple

from rbln_supervisor.discovery.process import DiscoveryProcess
from rbln_supervisor.workers import processes
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node
from tests.sim.device import SimDevice, shift
from tests.sim.node import SimNode

SIZES: Final = (256, 1024, 4096)
VFS_OF_A_PF: Final = 64
TIMES: Final = 3
NEEDS: Final = {"npu": Needs(frozenset({0x12})), "nic": Needs(frozenset({0x02}), rdma=True)}
CALLS: Final = ("open", "listdir", "readlink", "lstat")


class Figures(NamedTuple):
    """Of one node."""

    seconds: float
    """In a process that has looked before: the best of a few."""
    scout_s: float
    """In a process of its own, from the fork to the result in the supervisor's hands."""
    files: Counter[str]
    """Calls of Python's os functions."""
    system_calls: int | None
    """As strace counts them."""


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench-discovery", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="VFS")
    parser.add_argument("--kinds", nargs="+", choices=NEEDS, default=tuple(NEEDS))
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.look is not None:
        for _ in range(given.times):
            scan_node(given.look, NEEDS[given.kinds[0]])
        return 0
    processes.preload()
    print(
        f"{'':8}{'seconds':>9}{'us a VF':>9}{'forked s':>10}"
        f"{'opens':>8}{'lists':>7}{'links':>7}{'stats':>7}{'calls':>8}   a VF"
    )
    for kind in given.kinds:
        for size in given.sizes:
            with built(kind, size) as root:
                print(row(kind, size, measured(root, kind)), flush=True)
    return 0


def row(kind: str, size: int, figures: Figures) -> str:
    """A line of the table."""
    files = "".join(
        f"{figures.files[name] / size:{width}.2f}"
        for name, width in zip(CALLS, (8, 7, 7, 7), strict=True)
    )
    calls = "-" if figures.system_calls is None else f"{figures.system_calls / size:.1f}"
    return (
        f"{kind} {size:4}{figures.seconds:9.3f}{figures.seconds / size * 1e6:9.0f}"
        f"{figures.scout_s:10.3f}{files}{calls:>8}"
    )


@contextmanager
def built(kind: str, size: int) -> Iterator[Path]:
    """A node with so many virtual functions."""
    memory = Path("/dev/shm")  # noqa: S108
    folder = tempfile.mkdtemp(prefix="rb-", dir=memory if os.access(memory, os.W_OK) else None)
    try:
        sim = SimNode(Path(folder))
        for pf in range(size // VFS_OF_A_PF):
            bdf = f"{pf // 32:04x}:{(pf % 32) * 4 + 4:02x}:00.0"
            sim.add(*functions(kind, bdf))
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


def functions(kind: str, pf: str) -> Iterator[SimDevice]:
    """A PF below two bridges, and its VFs; network functions with an interface each."""
    parents = (f"{pf[:-4]}1f.0", shift(pf, 256))
    number = int(pf[:4], 16) * 32 + int(pf[5:7], 16) // 4
    if kind == "npu":
        yield SimDevice(pf, "1eff", "1220", parents=parents, totalvfs=VFS_OF_A_PF)
        for vf in range(VFS_OF_A_PF):
            yield SimDevice(shift(pf, vf + 1), "1eff", "1221", rbln=None, pf=pf)
        return
    nic = ("15b3", "101d", "020000", "mlx5_core")
    yield SimDevice(pf, *nic, parents=parents, net=(f"p{number}",), totalvfs=VFS_OF_A_PF)
    for vf in range(VFS_OF_A_PF):
        yield SimDevice(shift(pf, vf + 1), *nic, pf=pf, net=(f"p{number}v{vf}",))


def measured(root: Path, kind: str) -> Figures:
    """The figures of a node."""
    needs = NEEDS[kind]
    scan_node(root, needs)
    seconds = min(timed(lambda: scan_node(root, needs)) for _ in range(TIMES))
    with counted() as files:
        scan_node(root, needs)
    return Figures(seconds, timed(lambda: scouted(root, needs)), files, system_calls(root, kind))


def timed(body: Callable[[], object]) -> float:
    """How long something takes."""
    began = perf_counter()
    body()
    return perf_counter() - began


def scouted(root: Path, needs: Needs) -> None:
    """A look as the supervisor has it."""
    scout = DiscoveryProcess(root, root)
    scout.start_discovery(needs)
    while scout.is_busy:
        select.select(scout.descriptors, [], [], 1)
        look = scout.poll_result(monotonic())
        assert look is None or look.failed is None, look  # noqa: S101


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often the functions are called that reach for files."""
    counts: Counter[str] = Counter()
    before = {name: getattr(os, name) for name in CALLS}

    def counting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **rest: Any) -> Any:  # noqa: ANN401
            counts[name] += 1
            return before[name](*arguments, **rest)

        return call

    for name in CALLS:
        setattr(os, name, counting(name))
    try:
        yield counts
    finally:
        for name, function in before.items():
            setattr(os, name, function)


def system_calls(root: Path, kind: str) -> int | None:
    """Those of one more look: what a process with two of them makes above one with one."""
    if shutil.which("strace") is None:
        return None
    one, two = (_calls(root, kind, times) for times in (1, 2))
    return None if one is None or two is None else two - one


def _calls(root: Path, kind: str, times: int) -> int | None:
    with tempfile.NamedTemporaryFile("r") as summary:
        look = ("-m", "scripts.bench_discovery", "--kinds", kind, "--look", str(root))
        done = subprocess.run(
            [
                *("strace", "-f", "-c", "-U", "calls,name", "-o", summary.name),
                *(sys.executable, *look, "--times", str(times)),
            ],
            capture_output=True,
            check=False,
        )
        lines = summary.read().splitlines()
    totals = [line.split()[0] for line in lines if line.split()[1:] == ["total"]]
    return int(totals[0]) if totals and done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
