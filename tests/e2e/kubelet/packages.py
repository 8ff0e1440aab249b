"""The machine's packages, by its own apt client; nothing of its configuration is changed."""

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.e2e.kubelet.setting import CannotRun

RUNTIME: Final = (
    "containerd",
    "runc",
    "etcd-server",
    "busybox-static",
    "containernetworking-plugins",
)
BUILD: Final = ("golang-1.19-go", "golang-github-modern-go-reflect2-dev")


def ensure(names: Iterable[str], log: Path) -> None:
    """Install what is not there yet; CannotRun."""
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return
    _apt(("update", "-qq"), log)  # fails where one of many archives does; the install tells
    if not _apt(("install", "-y", "-qq", "--no-install-recommends", *missing), log):
        raise CannotRun(f"apt-get can't install {' '.join(missing)} (see {log})")


def files(name: str) -> Sequence[Path]:
    """What an installed package brought."""
    listed = subprocess.run(["dpkg", "-L", name], capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def file(name: str, ending: str) -> Path:
    """The file (or folder) of a package whose path ends so."""
    return next(path for path in files(name) if str(path).endswith(ending))


def download_source(name: str, folder: Path, log: Path) -> None:
    """The source package's files into ``folder``; CannotRun.

    The machine's own lists need not have sources: they are read from copies that do.
    """
    parts, lists = folder / "apt" / "parts", folder / "apt" / "lists"
    parts.mkdir(parents=True, exist_ok=True)
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    _copy_as_sources(Path("/etc/apt"), parts)
    options = (
        f"-oDir::Etc::sourceparts={parts}",
        f"-oDir::Etc::sourcelist={folder / 'apt' / 'none'}",
        f"-oDir::State::lists={lists}",
        # As root apt would hand its downloads to a user who can't write here.
        "-oAPT::Sandbox::User=root",
    )
    _apt((*options, "update", "-qq"), log)
    if not _apt((*options, "source", "-qq", "--download-only", name), log, cwd=folder):
        raise CannotRun(f"apt-get can't fetch the source of {name} (see {log})")


def _copy_as_sources(etc: Path, parts: Path) -> None:
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        lines = path.read_text().splitlines()
        text = "\n".join("Types: deb-src" if line.startswith("Types:") else line for line in lines)
        (parts / path.name).write_text(text + "\n")
    single = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    entries = [
        f"deb-src {line.removeprefix('deb ')}"
        for path in single
        if path.exists()
        for line in path.read_text().splitlines()
        if line.startswith("deb ")
    ]
    (parts / "single.list").write_text("".join(f"{entry}\n" for entry in entries))


def _installed(name: str) -> bool:
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", name], capture_output=True, text=True, check=False
    )
    return asked.stdout == "install ok installed"


def _apt(arguments: Sequence[str], log: Path, cwd: Path | None = None) -> bool:
    with log.open("ab") as file:
        done = subprocess.run(
            ["apt-get", *arguments],
            cwd=cwd,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            check=False,
        )
    return done.returncode == 0
