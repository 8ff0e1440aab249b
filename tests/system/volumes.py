"""The system on a run directory that is a real mount; run below ``unshare --mount``.

The word given is a Volume as JSON. What is mounted here, nobody else sees, and it goes with us.
"""

import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import TWO_POOLS, config, pool, run_supervisor, served
from tests.system.test_supervisord import CONFIG, answering, supervisord

LOG = "termination-log"


class Volume(msgspec.Struct, frozen=True):
    """What is mounted as run directory."""

    options: str | None
    """Those of a tmpfs; None for a folder on the disk below, as an emptyDir without a medium."""
    mode: int
    gid: int = 0
    """The group, as fsGroup sets it."""
    termination_log: bool = True
    """The kubelet's file is mounted into it, as for terminationMessagePath."""
    lost_and_found: bool = False
    supervisord: bool = False
    """Everything runs below the container's entrypoint."""
    full: bool = False
    """Nothing more can be written to it, and this is for the supervisor to say."""
    read_only: bool = False
    """Likewise; it is remounted so once a supervisor was there."""


def mount(*words: str | Path) -> None:
    subprocess.run(("mount", *words), check=True)


def make(volume: Volume, path: Path, host_file: Path) -> None:
    """What the kubelet and the container runtime do before the program starts."""
    path.mkdir(exist_ok=True)
    if volume.options is not None:
        mount("-t", "tmpfs", "-o", volume.options, "tmpfs", path)
    if volume.gid:
        subprocess.run(("chgrp", str(volume.gid), path), check=True)
    path.chmod(volume.mode)
    if volume.lost_and_found:
        (path / "lost+found").mkdir(0o700)
    if volume.termination_log:
        host_file.touch()
        host_file.chmod(0o666)
        (path / LOG).touch()  # the runtime makes what it mounts on
        mount("--bind", host_file, path / LOG)


def serve(volume: Volume) -> None:
    """Start, end and start again: the volume is a pod's, the container may be another one."""
    stack = Stack(CONFIG if volume.supervisord else TWO_POOLS)
    stack.under = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")  # as in the manifests
    make(volume, stack.run_dir, stack.run_dir.with_name("host-file"))
    with stack:
        for life in range(2):
            if life:
                stack.start()
            if volume.supervisord:
                with supervisord(stack) as running:
                    answering(stack)
                    running.terminate()
                    assert running.wait() == 0, stack.story()
            else:
                served(stack)
                stack.stop()
            assert stat.S_IMODE(stack.run_dir.stat().st_mode) == 0o700
        if volume.termination_log:
            assert (stack.run_dir / LOG).read_bytes() == b""
            unmount(stack.run_dir / LOG)
        if volume.options is not None:
            unmount(stack.run_dir)


def unmount(path: Path) -> None:
    subprocess.run(("umount", path), check=True)


def run_entrypoint(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The container's first program, which is to refuse before it starts anything."""
    return subprocess.run(
        [sys.executable, "-m", "rbln_supervisor.entrypoint", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def refuse(volume: Volume) -> None:
    """Print what the supervisor says."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        path, file = Path(home, "r"), Path(home, "config.json")
        file.write_bytes(msgspec.json.encode(config(pool("a", drivers=["x"]))))
        make(volume, path, Path(home, "host-file"))
        if volume.full:
            with (path / "supervisor.events").open("wb", buffering=0) as filler:
                while True:
                    try:
                        filler.write(bytes(4096))
                    except OSError:
                        break
        if volume.read_only:
            mount("-o", "remount,ro", path)
        words = ("--config-file", file, "--run-dir", path, "--host-root", home)
        done = run_entrypoint(*words) if volume.supervisord else run_supervisor(*words)
        print(done.returncode, done.stderr.replace(str(path), "RUN_DIR"), end="")
        subprocess.run(("umount", "--recursive", path), check=True)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=Volume)
    (refuse if given.full or given.read_only else serve)(given)
