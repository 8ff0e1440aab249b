"""Debian packages, as files of a cache folder or installed."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

EMULATOR: Final = "qemu-system-x86_64"
_EMULATOR_PACKAGE: Final = "qemu-system-x86"
_APT_DEADLINE_S: Final = 300.0


class CannotRun(Exception):
    """This machine can't have the VM; the text says why."""


def emulator() -> str:
    """The path of QEMU, which is installed where we may; CannotRun."""
    if platform.machine() != "x86_64":
        raise CannotRun(f"the VM runs this machine's programs on x86_64, this is {os.uname()[4]}")
    if found := shutil.which(EMULATOR):
        return found
    if shutil.which("apt-get") is None:
        raise CannotRun(f"no {EMULATOR} in PATH, and no apt-get to install it with")
    if os.geteuid() != 0:
        raise CannotRun(f"no {EMULATOR} in PATH, and only root may apt-get install it")
    apt = ("apt-get", "-qq", "install", "--no-install-recommends", "--yes", _EMULATOR_PACKAGE)
    try:
        _run(*apt)
    except CannotRun:  # package lists can be missing or old, as in a fresh container
        _run("apt-get", "-qq", "update")
        _run(*apt)
    found = shutil.which(EMULATOR)
    if found is None:
        raise CannotRun(f"{_EMULATOR_PACKAGE} is installed and has no {EMULATOR}")
    return found


def kernel_package() -> str:
    """The package that linux-image-amd64 stands for, named after its kernel; CannotRun."""
    if shutil.which("apt-get") is None:
        raise CannotRun("no apt-get to fetch a kernel with")
    depends = ("apt-cache", "depends", "linux-image-amd64")
    wanted = re.compile(r"Depends: (linux-image-\d\S+)")
    found = wanted.search(_run(*depends))
    if found is None and os.geteuid() == 0:
        _run("apt-get", "-qq", "update")
        found = wanted.search(_run(*depends))
    if found is None:
        raise CannotRun("apt knows no linux-image-amd64 (apt-get update may help)")
    return found[1]


def unpack(packages: tuple[str, ...], into: Path) -> None:
    """Put the files of packages into a folder, without installing any; CannotRun."""
    debs = into / "debs"
    debs.mkdir(parents=True)
    # apt downloads as user _apt, who may not write here.
    _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=debs)
    for deb in debs.iterdir():
        _run("dpkg-deb", "--extract", str(deb), str(into))
    shutil.rmtree(debs)


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_APT_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(str(error)) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no word why").splitlines()[-1]
        raise CannotRun(f"{' '.join(command[:4])} …: exit code {done.returncode}: {last}")
    return done.stdout
