"""The limit of open files."""

import subprocess
import sys

import pytest

from tests.sim.stack import REPOSITORY

RAISE = """
import resource, sys
from rbln_worker.process.limits import raise_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
raise_open_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard", "now"), [(64, 100, 100), (64, 64, 64)])
def test_as_many_as_may_be(soft: int, hard: int, now: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RAISE, str(soft), str(hard)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == f"{now} {hard}\n"
