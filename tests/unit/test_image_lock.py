"""What the image is made of: pinned, with hashes, and what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.sim.stack import REPOSITORY

FOLDER: Final = REPOSITORY / "deployments/container"
LOCKS: Final = {
    "requirements.txt": ("project", "dependencies"),
    "build-requirements.txt": ("build-system", "requires"),
}


@pytest.mark.parametrize("name", LOCKS)
def test_each_wish_has_a_pin_that_fits(name: str) -> None:
    table, key = LOCKS[name]
    wishes = [Requirement(text) for text in project()[table][key]]
    pinned = {canonicalize_name(pin.name): pin for pin in pins(FOLDER / name)}
    assert wishes
    for wish in wishes:
        (only,) = pinned[canonicalize_name(wish.name)].specifier
        assert only.operator == "=="
        assert only.version in wish.specifier, f"{only} is not {wish}: scripts/lock --keep"


@pytest.mark.parametrize("name", LOCKS)
def test_each_pin_has_hashes_and_no_index_is_named(name: str) -> None:
    text = (FOLDER / name).read_text()
    for entry in entries(text):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
    assert not re.search(r"https?:|index|find-links|trusted-host|file:", text)


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def pins(lock: Path) -> list[Requirement]:
    """Each entry without its hashes."""
    return [Requirement(entry.partition("--hash")[0]) for entry in entries(lock.read_text())]


def entries(text: str) -> list[str]:
    """A lock's lines, joined where one goes on."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
