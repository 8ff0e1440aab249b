"""Hypothesis profiles, and the places that tests need."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.sim.kubelet import SimKubelet

# A shell starts what it runs in the background with SIGINT ignored, and every process that a test
# starts would inherit that: Ctrl-C would end none of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline for an example: the machines that run these are shared.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=250,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", max_examples=10_000, deadline=None)  # --hypothesis-profile=long
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that repeats a simulation."""
    parser.addoption("--seed", type=int, help="run simulations with this seed only")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder directly below /tmp: a unix socket's path may have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def kubelet(short_path: Path) -> Iterator[SimKubelet]:
    """A running kubelet with a plugin watcher that acts at once."""
    with SimKubelet(short_path, plugin_watcher=True) as kubelet:
        yield kubelet
