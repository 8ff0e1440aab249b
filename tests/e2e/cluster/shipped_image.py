"""The image of this checkout, built by the image suite, as an archive that containerd imports."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.e2e import packages
from tests.e2e.cluster.setting import Places
from tests.e2e.image import base, build
from tests.e2e.image import places as image_places
from tests.e2e.image.engine import Engine

NAME: Final = "docker.io/library/rbln-device-plugin:0.1.0"
"""The name that the manifests and the chart have, in full."""


def archive(places: Places) -> Path:
    """Where the image is."""
    return places.images / "rbln-device-plugin.tar"


def prepare(places: Places, say: Callable[[str], None]) -> None:
    """Build it and write the archive; CannotRun, engine.Failed."""
    where = image_places.Places(image_places.cache_folder())
    with where.only_one():
        packages.ensure(base.PACKAGES, where.logs / "apt.log")
        engine = Engine(where)
        base.prepare(engine, where, say)
        say(f"image built in {build.build(engine, where):.1f} s")
        target = archive(places)
        target.unlink(missing_ok=True)
        engine.buildah("push", "--quiet", build.IMAGE, f"docker-archive:{target}:{NAME}")
