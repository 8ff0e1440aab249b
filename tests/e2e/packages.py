"""The machine's packages, by its own apt client; nothing of its configuration is changed."""

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.e2e.cannot_run import CannotRun

_LOCK: Final = Path(tempfile.gettempdir(), "rbln-e2e-apt.lock")
"""Two suites may need packages at once, and apt-get does not wait for all of its own locks."""


def ensure(names: Iterable[str], log: Path) -> None:
    """Install what is not there yet; CannotRun."""
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return
    with _alone():
        _apt(("update", "-qq"), log)  # fails where one of many archives does; the install tells
        if not _apt(("install", "-y", "-qq", "--no-install-recommends", *missing), log):
            raise CannotRun(f"apt-get can't install {' '.join(missing)} (see {log})")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with _LOCK.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def files(name: str) -> Sequence[Path]:
    """What an installed package brought."""
    listed = subprocess.run(["dpkg", "-L", name], capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def file(name: str, ending: str) -> Path:
    """The file (or folder) of a package whose path ends so."""
    return next(path for path in files(name) if str(path).endswith(ending))


def _installed(name: str) -> bool:
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", name], capture_output=True, text=True, check=False
    )
    return asked.stdout == "install ok installed"


def _apt(arguments: Sequence[str], log: Path) -> bool:
    with log.open("ab") as file:
        done = subprocess.run(
            ["apt-get", *arguments],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            check=False,
        )
    return done.returncode == 0
