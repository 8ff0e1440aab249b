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
        run(*apt)
    except CannotRun:  # package lists can be missing or old, as in a fresh container
        run("apt-get", "-qq", "update")
        run(*apt)


def kernel_package(options: tuple[str, ...] = ()) -> str:
    """Return the package that linux-image-amd64 depends on, named after its kernel; CannotRun.

    Args:
        options: for apt, as ``only`` yields them; none for the machine's own package lists.
    """
    if shutil.which("apt-get") is None:
        raise CannotRun("no apt-get to fetch a kernel with")
    depends = ("apt-cache", *options, "depends", "linux-image-amd64")
    wanted = re.compile(r"Depends: (linux-image-\d\S+)")
    found = wanted.search(run(*depends))
    if found is None and not options and os.geteuid() == 0:
        run("apt-get", "-qq", "update")
        found = wanted.search(run(*depends))
    if found is None:
        raise CannotRun("apt knows no linux-image-amd64 (apt-get update may help)")
    return found[1]


def parts(package: str, version: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the packages of a kernel whose own package is empty, as since Linux 7.3; CannotRun."""
    depends = run("apt-cache", *options, "depends", package)
    return tuple(re.findall(rf"Depends: (linux-\S+-{re.escape(version)})$", depends, re.MULTILINE))


def missing(*packages: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the packages that an installation of some would add to this machine; CannotRun."""
    if shutil.which("apt-get") is None:
        raise CannotRun(f"no apt-get to fetch {' '.join(packages)} with")
    simulate = ("apt-get", "-qq", *options, "install", "--simulate", "--no-install-recommends")
    return tuple(re.findall(r"^Inst (\S+)", run(*simulate, *packages), re.MULTILINE))


def unpack_root(
    packages: tuple[str, ...], into: Path, options: tuple[str, ...], *, wanted: tuple[str, ...] = ()
) -> None:
    """Unpack packages and all that they depend on, as a root for chroot(8); CannotRun."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (into / "usr" / name).mkdir(parents=True)
        (into / name).symlink_to(f"usr/{name}")
    empty = (*options, "-o", "Dir::State::status=/dev/null")
    unpack((*missing(*packages, options=empty), *wanted), into, empty)


def codename() -> str:
    """Return this Debian's name; CannotRun on another system."""
    release = platform.freedesktop_os_release() if Path(_RELEASE).exists() else {}
    if release.get("ID") != "debian" or shutil.which("apt-get") is None:
        raise CannotRun("this is no Debian, whose archive has it")
    return release.get("VERSION_CODENAME", "")


@contextmanager
def only(suites: tuple[str, ...], folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield options with which apt knows some suites of Debian and nothing else; CannotRun.

    What several of them have is taken from the last one. The machine's own package lists stay as
    they are; the folder is removed at the end.
    """
    codename()
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    lines = (f"deb http://deb.debian.org/debian {suite} main\n" for suite in suites)
    (folder / "sources.list").write_text("".join(lines))
    places = (
        *(("Etc::sourceparts", "-"), ("Etc::sourcelist", "sources.list")),
        *(("State::lists", "lists"), ("Cache", "cache")),
    )
    words = [f"Dir::{name}={place if place == '-' else folder / place}" for name, place in places]
    words.append(f"APT::Default-Release={suites[-1]}")
    chosen = tuple(word for one in words for word in ("-o", one))
    run("apt-get", "-qq", *_AS_OURSELVES, *chosen, "update")
    try:
        yield chosen
    finally:
        shutil.rmtree(folder)


def unpack(packages: tuple[str, ...], into: Path, options: tuple[str, ...] = ()) -> None:
    """Put the files of packages into a folder, without installing any; CannotRun."""
    debs = into / "debs"
    debs.mkdir(parents=True)
    run("apt-get", "-qq", *_AS_OURSELVES, *options, "download", *packages, cwd=debs)
    for deb in debs.iterdir():
        extract = 'dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink -C "$1"'
        run("sh", "-c", extract, str(deb), str(into))
    shutil.rmtree(debs)


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command; its output. CannotRun where it fails, with the last line of its complaint."""
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
