"""buildah and podman on a storage of our own: commands, and what they print."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.e2e.image.places import Places

DEADLINE_S: Final = 60.0


class Failed(Exception):
    """A command ended with another exit code than 0; the text has its last words."""


class Config(msgspec.Struct, frozen=True, rename="pascal"):
    """What an image says of how it is run."""

    labels: dict[str, str] = {}
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    stop_signal: str = ""


class RootFs(msgspec.Struct, frozen=True, rename="pascal"):
    """An image's layers."""

    layers: tuple[str, ...]
    """The digest of each, uncompressed."""


class Image(msgspec.Struct, frozen=True, rename="pascal"):
    """What podman says of an image."""

    size: int
    """Bytes of all its layers, uncompressed."""
    config: Config
    root_fs: RootFs = msgspec.field(name="RootFS")
    history: tuple[dict[str, object], ...]


class Engine:
    """Both programs, on the same images."""

    def __init__(self, places: Places) -> None:
        where = ("--root", str(places.storage), "--runroot", str(places.state / "run"))
        self._buildah = ("buildah", *where)
        self._podman = (
            *("podman", *where, "--tmpdir", str(places.state / "libpod")),
            # As on a machine without systemd, which the one that this runs on may be.
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
        )

    def buildah(self, *arguments: str, log: Path | None = None, deadline_s: float = 600.0) -> str:
        """What it printed; Failed. With a log, both its outputs go there, too."""
        return _run((*self._buildah, *arguments), log, deadline_s)

    def podman(self, *arguments: str, deadline_s: float = DEADLINE_S) -> str:
        """What it printed; Failed."""
        return _run((*self._podman, *arguments), None, deadline_s)

    def tried(
        self, *arguments: str, deadline_s: float = DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        """How podman ended, whatever its exit code."""
        return subprocess.run(
            [*self._podman, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
        )

    def has(self, image: str) -> bool:
        """Whether there is an image of that name."""
        return self.tried("image", "exists", image).returncode == 0

    def image(self, name: str) -> Image:
        """What there is to know of an image."""
        text = self.podman("image", "inspect", name)
        return msgspec.json.decode(text, type=tuple[Image, ...])[0]


def _run(command: Sequence[str], log: Path | None, deadline_s: float) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    if log is not None:
        log.write_text(done.stdout + done.stderr)
    if done.returncode:
        words = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-20:])
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{words}")
    return done.stdout
