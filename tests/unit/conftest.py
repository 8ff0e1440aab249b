"""Places that several modules need."""

from pathlib import Path

import pytest


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")  # short: a socket's path may have 107 bytes
