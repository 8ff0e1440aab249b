"""Runs tests that failed once more, alone, in a fresh process, and names them (docs/develop.md).

pytest-rerunfailures repeats a test beside the others, and with what the failed one left behind.

As a pytest plugin (``-p tests.second_attempt``) it writes the tests that failed, with the reasons,
to the file of ``RBLN_FAILED_TESTS``. As a program it runs pytest with its arguments, and the second
attempt. What it says is also added to the file of ``RBLN_SECOND_ATTEMPTS``, which .ci/run prints
last.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

VARIABLE: Final = "RBLN_FAILED_TESTS"
SAID_VARIABLE: Final = "RBLN_SECOND_ATTEMPTS"
FAILED_MAX: Final = 5
"""More failures than these are no coincidence: there is no second attempt."""

REASON_LINES: Final = 6

_failed: Final[dict[str, str]] = {}
"""The reason by the test's id."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember a failed test; an error in a fixture counts, too."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        _failed[report.nodeid] = crash.message if crash else report.longreprtext


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the list. Processes of pytest-xdist leave that to the one that started them."""
    if (path := os.environ.get(VARIABLE)) and not hasattr(session.config, "workerinput"):
        Path(path).write_text(json.dumps(_failed))


def run_with_second_attempt(run: Callable[[Path, Sequence[str]], int]) -> int:
    """Return the exit code of ``run(file, tests)``; ``file`` receives the failed tests' ids.

    The first call has no tests: all are run. Where few failed, they are run once more.
    """
    with tempfile.TemporaryDirectory(prefix="rbln-failed-") as folder:
        file = Path(folder, "failed")
        code = run(file, ())
        failed: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        if code != pytest.ExitCode.TESTS_FAILED or not failed:
            return code
        if len(failed) > FAILED_MAX:
            some = dict(list(failed.items())[:FAILED_MAX])
            _say(f"{len(failed)} tests failed; more than {FAILED_MAX} are not run again:", some)
            return code
        _say("failed, and run once more, alone:", failed)
        file.unlink()
        code = run(file, [*failed])
        if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            return code
        again: dict[str, str] = json.loads(file.read_text())
        if again:
            _say("failed twice:", again)
        if alone := {one: why for one, why in failed.items() if one not in again}:
            _say("passed only alone (a race to be mended, or a pause of the machine):", alone)
        return code


def _say(text: str, reasons: Mapping[str, str]) -> None:
    lines = [f"second attempt: {text}"]
    for test, reason in reasons.items():
        lines += (f"  {test}", *(f"    {one}" for one in reason.splitlines()[:REASON_LINES]))
    print(*lines, sep="\n", flush=True)
    if path := os.environ.get(SAID_VARIABLE):
        with Path(path).open("a") as file:
            print(*lines, sep="\n", file=file)


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
