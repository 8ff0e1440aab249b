"""README's excerpt of scripts/demo is what it prints, but for numbers."""

import re
import subprocess
from typing import Final

import pytest

from tests.sim.stack import REPOSITORY
from tests.unit.pages import blocks

pytestmark = pytest.mark.system

GAP: Final = "…"


def shape(line: str) -> str:
    """Return what is the same in every run."""
    return re.sub(r"\b\d+(\.\d+)? (ms|s)\b|(?<=worker )\d+|(?<=now )\d+", "N", line.rstrip())


def test_the_excerpt_is_what_the_demo_prints() -> None:
    (shown,) = (
        body for _, body in blocks((REPOSITORY / "README.md").read_text()) if body.startswith("▶")
    )
    done = subprocess.run(
        (REPOSITORY / "scripts/demo",), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\n   reload refused: resourceList[0].selectors.vendors: expected array" in done.stdout
    printed = iter([shape(line) for line in done.stdout.splitlines()])
    for line in shown.splitlines():
        assert line == GAP or shape(line) in printed, f"{line!r}, in this order"
