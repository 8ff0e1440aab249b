"""Debian packages, as files of a cache folder or installed."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_APT_DEADLINE_S: Final = 300.0
_AS_OURSELVES: Final = ("-o", "APT::Sandbox::User=root")
"""apt downloads as user _apt otherwise, who may not write to our folders."""
_RELEASE: Final = "/etc/os-release"


class CannotRun(Exception):
    """This machine can't have the VM; the text says why."""


def install(package: str) -> None:
    """Install a package; CannotRun."""
    apt = ("apt-get", "-qq", "install", "--no-install-recommends", "--yes", package)
    try:
        _run(*apt)
    except CannotRun:  # package lists can be missing or old, as in a fresh container
        _run("apt-get", "-qq", "update")
        _run(*apt)


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


@contextmanager
def backports(folder: Path) -> Iterator[tuple[str, ...]]:
    """Words for apt-get that let it see this Debian's backports and nothing else; CannotRun.

    The machine's own package lists stay as they are; the folder is removed at the end.
    """
    release = platform.freedesktop_os_release() if Path(_RELEASE).exists() else {}
    if release.get("ID") != "debian" or shutil.which("apt-get") is None:
        raise CannotRun("this is no Debian, whose backports may have it")
    suite = f"{release.get('VERSION_CODENAME')}-backports"
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb http://deb.debian.org/debian {suite} main\n")
    places = (
        *(("Etc::sourceparts", "-"), ("Etc::sourcelist", "sources.list")),
        *(("State::lists", "lists"), ("Cache", "cache")),
    )
    words = [f"Dir::{name}={place if place == '-' else folder / place}" for name, place in places]
    chosen = ("-t", suite, *(word for one in words for word in ("-o", one)))
    _run("apt-get", "-qq", *_AS_OURSELVES, *chosen, "update")
    try:
        yield chosen
    finally:
        shutil.rmtree(folder)


def unpack(packages: tuple[str, ...], into: Path, options: tuple[str, ...] = ()) -> None:
    """Put the files of packages into a folder, without installing any; CannotRun."""
    debs = into / "debs"
    debs.mkdir(parents=True)
    _run("apt-get", "-qq", *_AS_OURSELVES, *options, "download", *packages, cwd=debs)
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
