"""The image, from deployments/container/Dockerfile."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from tests.e2e.image.base import BASE, BUILD_BASE
from tests.e2e.image.engine import Engine
from tests.e2e.image.places import Places
from tests.sim.stack import REPOSITORY

IMAGE: Final = "localhost/rbln-e2e/rbln-device-plugin"
AGAIN: Final = "localhost/rbln-e2e/again"
"""The same, built a second time."""
VERSION: Final = "0.0.0+e2e"
REVISION: Final = "a-revision"

_KEPT_MOST: Final = 100
"""Images, with those of the steps in between: then all but the bases are removed."""
_OF_THE_INDEX: Final = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


def build(engine: Engine, places: Places, name: str = IMAGE, *, cached: bool = True) -> float:
    """Build it; how many seconds that took. Failed."""
    began = monotonic()
    with secrets(pip_settings()) as words:
        engine.buildah(
            *("bud", "--isolation", "chroot", "--layers", "--timestamp", "0", "--pull-never"),
            *(() if cached else ("--no-cache",)),
            *words,
            *("--build-arg", f"BASE={BASE}", "--build-arg", f"BUILD_BASE={BUILD_BASE}"),
            *("--build-arg", f"VERSION={VERSION}", "--build-arg", f"REVISION={REVISION}"),
            *("--file", str(REPOSITORY / "deployments/container/Dockerfile"), "--tag", name),
            str(REPOSITORY),
            log=places.logs / f"{name.rsplit('/', 1)[-1]}.log",
        )
    return monotonic() - began


def pip_settings() -> Mapping[str, str]:
    """How this machine's pip reaches its index: files and environment, as pip itself has them."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings: dict[str, str] = {}
    for line in sorted(told.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        settings[key.rsplit(".", 1)[-1]] = value.strip("'\"")
    return settings


@contextmanager
def secrets(settings: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Words for a build that lend it the settings; indexes that are folders stay outside."""
    lines = [f"{key} = {settings[key]}" for key in _OF_THE_INDEX if key in settings]
    lines = [line for line in lines if "file:" not in line]
    with tempfile.TemporaryDirectory(prefix="rbe-") as folder:
        words: tuple[str, ...] = ()
        if "cert" in settings:
            lines.append("cert = /run/secrets/ca.pem")
            words = ("--secret", f"id=ca.pem,src={settings['cert']}")
        file = Path(folder) / "pip.conf"
        file.write_text("\n".join(("[global]", *lines, "")))
        yield ("--secret", f"id=pip.conf,src={file}", *words)


def make_room(engine: Engine) -> None:
    """Remove what was built, where it has become much; only before a build that tests rely on.

    Each build leaves its steps behind, and the next one is quick because of them.
    """
    kept = engine.podman("images", "--all", "--quiet", "--no-trunc").split()
    if len(kept) <= _KEPT_MOST:
        return
    bases = {
        engine.podman("images", "--quiet", "--no-trunc", name).strip()
        for name in (BASE, BUILD_BASE)
    }
    engine.tried("rmi", "--force", *(image for image in set(kept) - bases), deadline_s=300.0)
