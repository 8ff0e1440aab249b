"""``scripts/e2e alerts``: installs Debian's Prometheus, runs the tests, prints the table."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from tests.e2e import packages
from tests.e2e.cannot_run import CannotRun
from tests.e2e.prometheus import PACKAGES
from tests.e2e.record import cache_folder
from tests.second_attempt import run_pytest, run_with_second_attempt

SLOW: Final = ("-o", "timeout=400", "-o", "faulthandler_timeout=390")
"""The first test that needs the run of all faults waits for it: some 90 s."""


def main(arguments: Sequence[str]) -> int:
    """Return 0 if all passed, or if this machine can't run it; arguments go to pytest."""
    folder = cache_folder() / "alerts"
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.md"
    began = monotonic()
    try:
        _check()
        packages.ensure(PACKAGES, folder / "apt.log")
    except CannotRun as reason:
        print(f"e2e alerts: not run: {reason}")
        return 0
    results.unlink(missing_ok=True)
    words = ("-p", "no:xdist", "-p", "no:cacheprovider", *SLOW)
    tests = (str(Path(__file__).parent), *arguments)
    code = run_with_second_attempt(
        lambda file, failed: run_pytest((*words, *(failed or tests)), file)
    )
    if results.exists():
        print(results.read_text())
    print(f"e2e alerts: {monotonic() - began:.1f} s in all", flush=True)
    return code


def _check() -> None:
    if os.geteuid() != 0:
        raise CannotRun("kernel events are injected in a network namespace, which needs root")
    for tool in ("apt-get", "dpkg-query"):
        if shutil.which(tool) is None:
            raise CannotRun(f"there is no {tool}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
