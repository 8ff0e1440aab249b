"""A small Debian with Python, as the images that the Dockerfile asks for: by debootstrap."""

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.e2e.cannot_run import CannotRun
from tests.e2e.image.engine import Engine
from tests.e2e.image.places import Places

PACKAGES: Final = ("buildah", "podman", "runc", "debootstrap")
"""What builds images and runs them."""
BASE: Final = "localhost/rbln-e2e/base"
BUILD_BASE: Final = "localhost/rbln-e2e/build-base"

_DEADLINE_S: Final = 900.0
_LEFT_OUT: Final = (
    *("var/cache/apt", "var/lib/apt/lists", "var/log", "etc/apt/sources.list"),
    # As Debian's own slim images have it.
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"),
)
"""Among them is the only file that names the archive."""


def prepare(engine: Engine, places: Places, say: Callable[[str], None]) -> None:
    """Make both images where they are missing; CannotRun. One to three minutes the first time."""
    if engine.has(BASE) and engine.has(BUILD_BASE):
        return
    archive, release = _archive()
    say(f"first run: debootstrap of {release}, one to three minutes")
    with tempfile.TemporaryDirectory(prefix="base-", dir=places.cache) as folder:
        tree = Path(folder) / "tree"
        log = places.logs / "debootstrap.log"
        wanted = ("--variant=minbase", "--include=python3", release, str(tree), archive)
        _do(("debootstrap", *wanted), log)
        sources = (tree / "etc/apt/sources.list").read_text()
        _commit(engine, tree, BASE)
        (tree / "etc/apt/sources.list").write_text(sources)
        apt = ("chroot", str(tree), "apt-get", "-qq", "-o", "APT::Sandbox::User=root")
        _do((*apt, "update"), log)
        _do((*apt, "install", "--yes", "--no-install-recommends", "python3-venv"), log)
        _commit(engine, tree, BUILD_BASE)


def _archive() -> tuple[str, str]:
    """Where this machine has its Debian from, by its own configuration, and the release's name."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    name = release.get("VERSION_CODENAME")
    if release.get("ID") != "debian" or name is None:
        raise CannotRun("this is no Debian, and debootstrap needs the archive of one")
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in asked.stdout.splitlines():
        suite, _, archive = line.partition(" ")
        if suite == name:
            return archive, name
    raise CannotRun(f"apt has no archive of {name}")


def _commit(engine: Engine, tree: Path, name: str) -> None:
    """The tree as an image of one layer."""
    for place in _LEFT_OUT:
        path = tree / place
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()
        else:
            path.unlink(missing_ok=True)
    container = engine.buildah("from", "scratch").strip()
    engine.buildah("add", "--quiet", container, str(tree), "/")
    engine.buildah("commit", "--quiet", container, name)
    engine.buildah("rm", container)


def _do(command: tuple[str, ...], log: Path) -> None:
    with log.open("ab") as file:
        done = subprocess.run(
            command,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            timeout=_DEADLINE_S,
            check=False,
        )
    if done.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise CannotRun(f"{command[0]}: exit code {done.returncode}: {' '.join(last)} (see {log})")
