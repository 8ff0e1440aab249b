"""What a process may use up."""

import subprocess
import sys

import pytest

from rbln_worker.main import is_lack_of_memory
from tests.sim.stack import REPOSITORY

ROOM = """
import resource, sys
from rbln_worker.process import limits
print(limits.can_start_threads(1))
before = int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) << 10
limits.bound_memory(before + (int(sys.argv[1]) << 20))
print(limits.can_start_threads(1), resource.getrlimit(resource.RLIMIT_DATA)[0] - before >> 20)
limits.bound_memory(1 << 40)
limits.bound_memory(0)
print(resource.getrlimit(resource.RLIMIT_DATA)[0] - before >> 20)
"""


@pytest.mark.parametrize(("most", "room"), [(4, False), (64, True)])
def test_a_bound_is_never_raised_and_its_end_is_noticed(most: int, room: bool) -> None:  # noqa: FBT001
    done = subprocess.run(
        [sys.executable, "-c", ROOM, str(most)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == f"True\n{room} {most}\n{most}\n"


THREADS = """
import threading
from rbln_worker.process import limits
from rbln_worker.main import is_lack_of_memory
over = threading.Event()
limits.bound_memory(256 << 20)
try:
    for _ in range(1000):
        threading.Thread(target=over.wait, daemon=True).start()
except RuntimeError as error:
    print(is_lack_of_memory(error), limits.can_start_threads(1))
    print(is_lack_of_memory(ExceptionGroup("", [ValueError(), ExceptionGroup("", [error])])))
finally:
    over.set()
"""


def test_no_memory_for_a_thread_is_a_lack_of_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "True False\nTrue\n", done.stderr


@pytest.mark.parametrize(
    ("error", "lack"),
    [
        (MemoryError(), True),
        (BaseExceptionGroup("", [KeyboardInterrupt(), MemoryError()]), True),
        (ExceptionGroup("", [ValueError()]), False),
        (RuntimeError("no running event loop"), False),
    ],
)
def test_other_errors(error: BaseException, lack: bool) -> None:  # noqa: FBT001
    assert is_lack_of_memory(error) is lack
