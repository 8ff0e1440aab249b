"""When connections are taken."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rbln_supervisor.workers.fd_limit import fd_shortage
from tests.sim.stack import REPOSITORY


@pytest.fixture
def limit() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def lower(to: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (to, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_a_full_table_and_one_with_room(limit: int) -> None:
    assert fd_shortage("") == ""
    lower(0)
    full = fd_shortage("")
    assert full == (
        "no connection is taken: Too many open files (a limit of 0); raise its LimitNOFILE"
    )
    lower(limit)
    assert fd_shortage(full) == ""


def test_it_lasts_until_there_are_somewhat_more(limit: int) -> None:
    few = next(one for one in range(4, 4096) if not _short(one))
    assert _short(few - 1)
    lower(few - 1)
    said = fd_shortage("")
    assert "descriptors are open; raise its LimitNOFILE" in said
    lower(few)
    assert fd_shortage(said) == said
    lower(2 * few)
    assert fd_shortage(said) == ""


def _short(limit: int) -> bool:
    lower(limit)
    return bool(fd_shortage(""))


RAISE = """
import resource, sys
from rbln_supervisor.workers.fd_limit import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
raise_limit()
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
