"""Programs that the tests run: the machine's, or those that were unpacked beside the image."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.kernel.vm import tools

TOOLS: Final = "RBLN_VM_TOOLS"
"""The folder with what the machine lacks."""
WITHOUT_TOOLS: Final = "RBLN_VM_WITHOUT_TOOLS"
"""Why there is no such folder, where there is none."""


def folder() -> Path:
    """Return the folder of unpacked programs."""
    return Path(os.environ[TOOLS] or "/nonexistent")


def found(name: str) -> tuple[str, Mapping[str, str]]:
    """Return a program's path and the environment to run it in; the test is skipped without it."""
    environment = tools.environment(folder(), os.environ)
    program = shutil.which(name, path=environment["PATH"])
    if program is None:
        pytest.skip(os.environ[WITHOUT_TOOLS] or f"this machine's packages have no {name}")
    return program, environment
