"""Runs tests that failed once more, alone, in a fresh process, and names them (docs/develop.md).

pytest-rerunfailures repeats a test beside the others, and with what the failed one left behind.

As a pytest plugin (``-p tests.second_attempt``) it writes the ids of the tests that failed to the
file of ``RBLN_FAILED_TESTS``. As a program it runs pytest with its arguments, and the second
attempt.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

VARIABLE: Final = "RBLN_FAILED_TESTS"
FAILED_MAX: Final = 5
"""More failures than these are no coincidence: there is no second attempt."""

_failed: Final[dict[str, None]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember a failed test; an error in a fixture counts, too."""
    if report.failed:
        _failed[report.nodeid] = None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the list. Processes of pytest-xdist leave that to the one that started them."""
    if (path := os.environ.get(VARIABLE)) and not hasattr(session.config, "workerinput"):
        Path(path).write_text("".join(f"{one}\n" for one in _failed))


def run_with_second_attempt(run: Callable[[Path, Sequence[str]], int]) -> int:
    """Return the exit code of ``run(file, tests)``; ``file`` receives the failed tests' ids.

    The first call has no tests: all are run. Where few failed, they are run once more.
    """
    with tempfile.TemporaryDirectory(prefix="rbln-failed-") as folder:
        file = Path(folder, "failed")
        code = run(file, ())
        failed = file.read_text().splitlines() if file.exists() else []
        if code != pytest.ExitCode.TESTS_FAILED or not failed:
            return code
        if len(failed) > FAILED_MAX:
            _say(f"{len(failed)} tests failed; with more than {FAILED_MAX}, none is run again")
            return code
        _say("failed, and run once more, alone:", failed)
        file.unlink()
        code = run(file, failed)
        if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            return code
        if again := set(file.read_text().splitlines()):
            _say("failed twice:", sorted(again))
        if alone := [one for one in failed if one not in again]:
            _say("passed only alone (a race to be mended, or a pause of the machine):", alone)
        return code


def _say(text: str, tests: Sequence[str] = ()) -> None:
    print("\n".join((f"second attempt: {text}", *(f"  {one}" for one in tests))), flush=True)


def run_pytest(words: Sequence[str], file: Path) -> int:
    """Run pytest in a process of its own; the failed tests' ids go to ``file``."""
    # Not by PYTHONDEVMODE, which the processes under test would inherit.
    dev = ("-X", "dev") if sys.flags.dev_mode else ()
    return subprocess.run(
        (sys.executable, *dev, "-m", "pytest", "-p", "tests.second_attempt", *words),
        env={**os.environ, VARIABLE: str(file)},
        check=False,
    ).returncode


def main(arguments: Sequence[str]) -> int:
    """Run pytest with these arguments, and what fails once more."""
    return run_with_second_attempt(
        lambda file, tests: run_pytest(("-n", "0", *tests) if tests else arguments, file)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
