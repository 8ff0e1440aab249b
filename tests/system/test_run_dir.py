"""Volumes as a kubelet mounts them, as run directory of the real processes."""

import os
import subprocess
import sys

import msgspec
import pytest

from tests.sim.stack import REPOSITORY
from tests.system.volumes import Volume

UNSHARE = ("unshare", "--mount", "--propagation", "private")


def cannot_mount() -> str:
    """The reason why nothing can be mounted here; empty where it can."""
    if os.geteuid() != 0:
        return "only root may mount a tmpfs"
    command = (*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


REASON = cannot_mount()
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(REASON), reason=f"no mounts here: {REASON}"),
]


def run_with(volume: Volume) -> str:
    done = subprocess.run(
        (*UNSHARE, sys.executable, "-m", "tests.system.volumes", msgspec.json.encode(volume)),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


MEMORY = "mode=1777,size=32m"
VOLUMES = {
    "emptyDir in memory": Volume(MEMORY, 0o1777),
    "emptyDir in memory, nothing mounted into it": Volume(MEMORY, 0o1777, termination_log=False),
    "emptyDir in memory with fsGroup": Volume(MEMORY, 0o3777, gid=2000),
    "emptyDir on disk": Volume(None, 0o777),
    "emptyDir on disk with fsGroup": Volume(None, 0o2777, gid=2000),
    "persistent volume with fsGroup": Volume("mode=755", 0o2775, gid=2000, lost_and_found=True),
    "hostPath": Volume(None, 0o755, termination_log=False),
    "tmpfiles.d": Volume("mode=755", 0o700, termination_log=False),
    "in the container": Volume(MEMORY, 0o1777, supervisord=True),
}


@pytest.mark.parametrize("volume", VOLUMES.values(), ids=VOLUMES)
def test_a_volume_is_served_from(volume: Volume) -> None:
    run_with(volume)


def test_a_full_volume() -> None:
    assert run_with(Volume("mode=1777,size=16k", 0o1777, full=True)) == (
        "1 rbln-supervisor: RUN_DIR/supervisor.lock: No space left on device: free some there, or "
        "give the volume more (sizeLimit of an emptyDir)\n"
    )


def test_a_full_volume_ends_the_container() -> None:
    volume = Volume("mode=1777,size=16k", 0o1777, full=True, supervisord=True)
    assert run_with(volume) == (
        "1 rbln-supervisor: RUN_DIR: No space left on device: free some there, or give the volume "
        "more (sizeLimit of an emptyDir)\n"
    )


@pytest.mark.parametrize("mode", [0o1777, 0o755, 0o700])
def test_a_volume_that_is_mounted_read_only(mode: int) -> None:
    (line,) = run_with(Volume("size=1m", mode, read_only=True)).splitlines()
    assert line.startswith("1 rbln-supervisor: RUN_DIR")
    assert line.endswith(
        ": Read-only file system: --run-dir has to be a folder that can be written to"
    )
