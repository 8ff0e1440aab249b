"""The engine with the image in it, a running container, and a table of what was measured."""

from collections.abc import Iterator

import pytest

from tests.e2e.image.build import IMAGE
from tests.e2e.image.container import Container
from tests.e2e.image.engine import Engine
from tests.e2e.image.places import Places, cache_folder
from tests.e2e.report import Report


@pytest.fixture(scope="session")
def places() -> Places:
    """Where all of it is kept."""
    return Places(cache_folder())


@pytest.fixture(scope="session")
def engine(places: Places) -> Engine:
    """The engine; skips where nobody built the image."""
    if not places.storage.is_dir() or not (engine := Engine(places)).has(IMAGE):
        pytest.skip("the image is not built yet: scripts/e2e image does that")
    return engine


@pytest.fixture(scope="session")
def report(places: Places) -> Iterator[Report]:
    """Where results go; __main__ prints them."""
    report = Report("image on Debian, podman, runc")
    yield report
    report.write(places.results)


@pytest.fixture
def container(engine: Engine) -> Iterator[Container]:
    """A container without any capability, whose root is read-only."""
    with Container(engine) as container:
        yield container
