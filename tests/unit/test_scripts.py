"""Shell scripts end at the first command that fails, also if called as ``bash script``."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.sim.stack import REPOSITORY

CI: Final = REPOSITORY / ".ci/run"
SHELL: Final = [
    path
    for path in (CI, *sorted((REPOSITORY / "scripts").iterdir()))
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")
]
CALLS_INSTALL: Final = [path for path in SHELL if "\nscripts/install\n" in path.read_text()]


def stub(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("bash", script, *words), capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_the_first_command_sets_the_shells_options(path: Path) -> None:
    first, *rest = path.read_text().splitlines()
    assert first == "#!/bin/sh"
    assert next(line for line in rest if not line.startswith("#")) == "set -eu"
    assert path.stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("failing", "ran"),
    [("check", ["check"]), ("test", ["check", "test"]), ("e2e", ["check", "test", "e2e"])],
)
def test_ci_fails_where_a_step_fails(tmp_path: Path, failing: str, ran: list[str]) -> None:
    shutil.copytree(CI.parent, tmp_path / ".ci")
    for name in ("check", "test", "e2e"):
        code = 3 if name == failing else 0
        stub(tmp_path / "scripts" / name, f"echo {name}; exit {code}")
    done = run(tmp_path / ".ci/run")
    assert (done.returncode, done.stdout.split()) == (3, ran)


def test_ci_passes_where_all_steps_pass(tmp_path: Path) -> None:
    shutil.copytree(CI.parent, tmp_path / ".ci")
    for name in ("check", "test", "e2e"):
        stub(tmp_path / "scripts" / name, f"echo {name}")
    done = run(tmp_path / ".ci/run")
    assert (done.returncode, done.stdout.split()) == (0, ["check", "test", "e2e"])


@pytest.mark.parametrize("path", CALLS_INSTALL, ids=lambda path: path.name)
def test_nothing_is_run_where_the_installation_fails(tmp_path: Path, path: Path) -> None:
    stub(tmp_path / "scripts/install", "exit 9")
    for program in ("python", "ruff", "mypy", "lint-imports", "uv"):
        stub(tmp_path / ".venv/bin" / program, "echo ran")
    shutil.copy(path, tmp_path / "scripts")
    done = run(tmp_path / "scripts" / path.name)
    assert (done.returncode, "ran" in done.stdout) == (9, False), done.stderr


def test_e2e_without_words_runs_all_and_keeps_a_failure(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    stub(tmp_path / "scripts/install", "")
    stub(tmp_path / ".venv/bin/python", '[ "$2" != tests.e2e.kernel ] || exit 1; echo "$2"')
    done = run(tmp_path / "scripts/e2e")
    ran = [word.removeprefix("tests.e2e.") for word in done.stdout.split()]
    assert done.returncode == 1
    # Both releases are built beside the other suites.
    assert sorted(ran[:3]) == ["alerts", "cluster", "image"]
    assert ran[3:] == ["cluster"] * 3
    done = run(tmp_path / "scripts/e2e", "image", "-k", "x")
    assert (done.returncode, done.stdout.split()) == (0, ["tests.e2e.image"])
    assert run(tmp_path / "scripts/e2e", "nonsense").returncode == 2
