"""Programs that tests run in the VM and that the machine may not have: Open vSwitch, iproute2."""

import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.e2e.kernel.vm import debian

PACKAGES: Final = ("openvswitch-switch", "iproute2")
_PROGRAMS: Final = ("usr/sbin", "usr/bin", "sbin", "bin", "usr/lib/openvswitch-switch")
"""The last one has ovs-vswitchd, which an installed package links to (update-alternatives)."""
_LIBRARIES: Final = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")


def unpack(cache: Path) -> Path:
    """Return a folder with what the machine lacks of PACKAGES, not installed; CannotRun."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / "tools"
    with (cache / "lock").open("w") as lock:  # one makes it, whoever comes meanwhile waits
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = cache / "making-tools"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            lacking = {name for package in PACKAGES for name in debian.missing(package)}
            if lacking:
                debian.unpack(tuple(sorted(lacking)), making)
            making.rename(folder)
    return folder


def environment(folder: Path, variables: Mapping[str, str]) -> Mapping[str, str]:
    """Return variables with which the folder's programs and libraries are found."""
    programs = (variables.get("PATH", os.defpath), *(f"{folder / name}" for name in _PROGRAMS))
    return {
        **variables,
        "PATH": ":".join(programs),
        "LD_LIBRARY_PATH": ":".join(f"{folder / name}" for name in _LIBRARIES),
    }
