"""Whether the pools that a reload starts came up."""

from rbln_supervisor.core.workers.startup_check import WorkerStart, startup_failures
from rbln_worker.contract.pool import PoolName

A, B = PoolName("x.io/a"), PoolName("x.io/b")


def test_who_is_up_or_may_still_come_has_not_failed() -> None:
    births = (WorkerStart(A, is_up=True), WorkerStart(B, is_up=False))
    assert startup_failures(births, is_overdue=False) == ()
    assert startup_failures((), is_overdue=True) == ()
    assert startup_failures(births[:1], is_overdue=True) == ()


def test_who_says_nothing() -> None:
    births = (
        WorkerStart(A, is_up=True),
        WorkerStart(B, is_up=False, how="left", last_line="before"),
    )
    assert startup_failures(births, is_overdue=True) == (
        "x.io/b could not start: its worker said nothing within 10 s, its last log line: before",
    )


def test_who_dies() -> None:
    births = (
        WorkerStart(A, is_up=False, has_died=True, how="exit code 70", last_line="ValueError: x"),
        WorkerStart(B, is_up=True, has_died=True),  # and lives again
    )
    assert startup_failures(births, is_overdue=False) == (
        "x.io/a could not start: exit code 70, its last log line: ValueError: x",
        "x.io/b could not start: its worker ended",
    )
