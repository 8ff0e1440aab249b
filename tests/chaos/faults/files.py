"""Folders that are full or read-only, files that are gone, tables that are full."""

import contextlib
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Final

from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.faults import workers
from tests.chaos.measure import descriptors
from tests.chaos.touch import Touch
from tests.chaos.world import World

REMOUNT_TIMEOUT_S: Final = 5.0
INFO = {pools.NIC: Touch.LISTS, pools.DPDK: Touch.LISTS}


def devinfo_full(world: World, _: Random) -> Plan | None:
    """The folder of device-info files becomes a file system without room."""
    if not world.namespace:
        return None
    folder = world.stack.root / pools.DEVINFO.removeprefix("/")

    def inject() -> None:
        _run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "none", f"{folder}")
        with contextlib.suppress(OSError):
            (folder / "full").write_bytes(bytes(64 * 1024))
        _look(world)

    def undo() -> None:
        _run("umount", "--lazy", f"{folder}")
        _look(world)

    return Plan(
        what="the folder of device-info files is full",
        uses=frozenset({"devinfo", *INFO}),
        touches=INFO,
        inject=inject,
        undo=undo,
        seen=lambda: not any(world.is_healthy(pools.NIC, device) for device in pools.NICS),
    )


def devinfo_read_only(world: World, _: Random) -> Plan | None:
    """The folder of device-info files becomes read-only."""
    folder = world.stack.root / pools.DEVINFO.removeprefix("/")
    return _read_only(world, folder, {"devinfo", *INFO}, dict(INFO), lambda: _look(world))


def kubelet_read_only(world: World, rng: Random) -> Plan | None:
    """The kubelet's folders become read-only, and a pool's stream ends meanwhile."""
    pool = rng.choice(sorted(pools.REST))
    folder = world.kubelet.folder
    return _read_only(
        world,
        folder,
        {"kubelet", *(f"worker {each}" for each in pools.NAMES)},
        {pool: Touch.STREAMS, **dict.fromkeys(pools.DRA, Touch.LISTS)},
        lambda: world.kubelet.close_stream(pool),
    )


def run_dir_read_only(world: World, rng: Random) -> Plan | None:
    """The run directory becomes read-only, and a device changes meanwhile."""
    bdf = rng.choice(pools.ATOMS)
    node = f"rbln{pools.ATOMS.index(bdf)}"

    def meanwhile() -> None:
        world.node.remove_dev_node(node)
        world.node.add_dev_node(node)

    return _read_only(
        world,
        world.stack.run_dir,
        {"agent", "supervisor", pools.ATOM, *(f"worker {each}" for each in pools.NAMES)},
        {pools.ATOM: Touch.LISTS},
        meanwhile,
    )


def file_table_full(world: World, rng: Random) -> Plan:
    """A worker may open no further descriptor for a while."""
    pool = rng.choice(sorted(pools.NAMES))
    pid = world.pid(pool)
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)

    def inject() -> None:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid), former[1]))
        _look(world)

    def undo() -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, former)
        _look(world)

    return Plan(
        what=f"the worker of {pool} may open nothing",
        uses=frozenset({"kubelet", pool, f"worker {pool}"}),
        touches={pool: Touch.LISTS},
        inject=inject,
        undo=undo,
    )


def sockets_removed(world: World, rng: Random) -> Plan:
    """The supervisor's sockets vanish; a worker that is born after that finds them again."""
    folder = world.stack.run_dir
    pool = rng.choice(sorted(pools.NAMES))
    pid = world.pid(pool)

    def inject() -> None:
        world.pulse.expect_silence()
        for name in ("control.sock", "workers.sock"):
            (folder / name).unlink()

    def undo() -> None:
        world.wait(world.status, "the supervisor can be reached again")
        world.pulse.expect_answers()
        world.kill(pid, signal.SIGKILL)
        world.wait(lambda: workers.is_another(world, pool, pid), f"another worker of {pool}", 45.0)

    return Plan(
        what=f"the supervisor's sockets are removed, then {pool} dies",
        touches={pool: Touch.WORKER},
        uses=frozenset({"supervisor", "run dir", *(f"worker {each}" for each in pools.NAMES)}),
        inject=inject,
        undo=undo,
    )


def own_files_removed(world: World, rng: Random) -> Plan:
    """A list of files and last log lines vanish; whoever wrote them writes them again."""
    stem = rng.choice(sorted((world.stack.run_dir / "pools").glob("*.files"))).stem
    folder = world.stack.run_dir / "pools"
    path = folder / f"{stem}.files"
    content = path.read_bytes()

    def undo() -> None:
        if not path.exists():
            path.write_bytes(content)

    return Plan(
        what=f"{path.name} is removed",
        uses=frozenset({"run dir", *(f"worker {each}" for each in pools.NAMES), "supervisor"}),
        inject=path.unlink,
        undo=undo,
    )


def _read_only(
    world: World,
    folder: Path,
    uses: set[str],
    touches: dict[str, Touch],
    meanwhile: Callable[[], None],
) -> Plan | None:
    if not world.namespace:
        return None

    def inject() -> None:
        _run("mount", "--bind", f"{folder}", f"{folder}")
        _remount_read_only(folder)
        meanwhile()

    def undo() -> None:
        _run("umount", "--lazy", f"{folder}")
        _look(world)

    return Plan(
        what=f"{folder.relative_to(world.stack.root.parent)} is read-only",
        uses=frozenset(uses),
        touches=touches,
        inject=inject,
        undo=undo,
    )


def _remount_read_only(folder: Path) -> None:
    """Busy while a worker has a file open for writing, which is a matter of milliseconds."""
    end = monotonic() + REMOUNT_TIMEOUT_S
    while True:
        try:
            _run("mount", "-o", "remount,bind,ro", f"{folder}")
        except subprocess.CalledProcessError:
            if monotonic() > end:
                raise
            sleep(0.01)
        else:
            return


def _look(world: World) -> None:
    """Have every worker look at its devices: something happened in /dev."""
    world.node.add_dev_node("chaos")
    world.node.remove_dev_node("chaos")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=20)
