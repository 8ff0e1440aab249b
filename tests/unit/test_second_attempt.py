"""What fails in the whole suite runs once more, alone; real pytest runs of small files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.second_attempt import FAILED_MAX, SAID_VARIABLE
from tests.sim.stack import REPOSITORY

CHANCE = """
from pathlib import Path
def test_by_chance():
    seen = Path(__file__).with_name("seen")
    if not seen.exists():
        seen.write_text("")
        assert False, "the first time"
"""


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_some.py").write_text(text)
    return subprocess.run(
        (sys.executable, "-m", "tests.second_attempt"),
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            SAID_VARIABLE: str(folder / "said"),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_test_that_fails_once_is_named_and_passes(short_path: Path) -> None:
    done = run(short_path, CHANCE)
    assert done.returncode == 0, done.stdout
    assert "second attempt: passed only alone" in done.stdout
    said = (short_path / "said").read_text()
    assert all(line in done.stdout for line in said.splitlines())
    assert "test_by_chance" in said.rpartition("passed only alone")[2]
    assert "AssertionError: the first time" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def test_wrong():\n    assert False\n", "second attempt: failed twice:"),
        (CHANCE + "def test_wrong():\n    assert False\n", "second attempt: failed twice:"),
        (
            "import pytest\n"
            "@pytest.fixture\ndef broken():\n    raise OSError\n"
            "def test_wrong(broken):\n    pass\n",
            "second attempt: failed twice:",
        ),
        (
            "import pytest\n"
            f"@pytest.mark.parametrize('one', range({FAILED_MAX + 1}))\n"
            "def test_wrong(one):\n    assert False\n",
            f"second attempt: {FAILED_MAX + 1} tests failed",
        ),
    ],
    ids=["always", "one of two", "in a fixture", "too many"],
)
def test_what_fails_is_red(short_path: Path, text: str, says: str) -> None:
    done = run(short_path, text)
    assert done.returncode == 1, done.stdout
    assert says in done.stdout
    assert says in (short_path / "said").read_text()


def test_a_file_that_cannot_be_read_is_red_at_once(short_path: Path) -> None:
    done = run(short_path, "def test_some(:\n")
    assert done.returncode not in {0, 1}
    assert "second attempt" not in done.stdout


def test_what_passes_is_run_once(short_path: Path) -> None:
    done = run(short_path, "def test_right():\n    pass\n")
    assert (done.returncode, "second attempt" in done.stdout) == (0, False)
