"""Hypothesis profiles, and the places that tests need."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_admission import Dialling

# No deadline for an example: the machines that run these are shared.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=500,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", max_examples=10_000, deadline=None)  # --hypothesis-profile=long
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder directly below /tmp: a unix socket's path may have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=list(Dialling), ids=lambda dialling: dialling.name.lower())
def kubelet(request: pytest.FixtureRequest, short_path: Path) -> Iterator[SimKubelet]:
    """A running kubelet with a plugin watcher, once of each habit of dialling."""
    with SimKubelet(short_path, plugin_watcher=True, dialling=request.param) as kubelet:
        yield kubelet
