"""QEMU: the installed one, or beside it a newer one that has a network card with SR-IOV."""

import fcntl
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.kernel.vm import debian
from tests.e2e.kernel.vm.debian import CannotRun

PROGRAM: Final = "qemu-system-x86_64"
_PACKAGE: Final = "qemu-system-x86"
_NEWER: Final = (_PACKAGE, "qemu-system-data", "seabios")
"""Programs and firmware; the libraries are those of the installed QEMU."""
_ASK_DEADLINE_S: Final = 30.0


class Emulator(NamedTuple):
    """A QEMU."""

    command: tuple[str, ...]
    without_network: str
    """Why it has no network card with SR-IOV; empty where it has one (igb, since QEMU 8)."""
    without_switch: str
    """Why it has no rocker whose ports are a list; empty where it has one (since QEMU 9)."""


def emulator(cache: Path) -> Emulator:
    """QEMU, installed where we may; a newer one in the cache where that has no igb; CannotRun."""
    installed = (_installed(),)
    if not _lacks_network(installed):
        return Emulator(installed, "", _lacks_switch(installed))
    try:
        newer = _newer(cache)
    except CannotRun as error:
        why = f"the installed QEMU has no igb, and a newer one: {error}"
        return Emulator(installed, why, _lacks_switch(installed))
    return Emulator(newer, "", _lacks_switch(newer))


def _installed() -> str:
    if platform.machine() != "x86_64":
        raise CannotRun(f"the VM runs this machine's programs on x86_64, this is {os.uname()[4]}")
    if found := shutil.which(PROGRAM):
        return found
    if shutil.which("apt-get") is None:
        raise CannotRun(f"no {PROGRAM} in PATH, and no apt-get to install it with")
    if os.geteuid() != 0:
        raise CannotRun(f"no {PROGRAM} in PATH, and only root may apt-get install it")
    debian.install(_PACKAGE)
    found = shutil.which(PROGRAM)
    if found is None:
        raise CannotRun(f"{_PACKAGE} is installed and has no {PROGRAM}")
    return found


def _newer(cache: Path) -> tuple[str, ...]:
    """QEMU out of this Debian's backports, unpacked in the cache and not installed; CannotRun."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / "qemu"
    with (cache / "lock").open("w") as lock:  # one makes it, whoever comes meanwhile waits
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = cache / "making-qemu"
            shutil.rmtree(making, ignore_errors=True)
            with debian.only((f"{debian.codename()}-backports",), making / "apt") as backports:
                debian.unpack(_NEWER, making, backports)
            making.rename(folder)
    shared = folder / "usr" / "share"
    command = (
        str(folder / "usr" / "bin" / PROGRAM),
        *("-L", str(shared / "qemu"), "-L", str(shared / "seabios")),
    )
    if why := _lacks_network(command):
        raise CannotRun(why)
    return command


def _lacks_network(command: tuple[str, ...]) -> str:
    """Return why there is no igb; empty where there is one."""
    return _lacks(command, "igb", "igb options")


def _lacks_switch(command: tuple[str, ...]) -> str:
    """Return why there is no rocker as we want it; empty where there is one."""
    return _lacks(command, "rocker", "ports=<list>")


def _lacks(command: tuple[str, ...], device: str, wanted: str) -> str:
    """Return why a device's options don't have some text; empty where they have it."""
    try:
        asked = subprocess.run(
            (*command, "-device", f"{device},help"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ASK_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if asked.returncode == 0 and wanted in asked.stdout:
        return ""
    said = asked.stderr.strip() or f"{device} has no {wanted}"
    return said.splitlines()[-1]
