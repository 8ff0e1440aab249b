"""An upgrade: one check at a time, one reply for each request, and no upgrade of a stop."""

from rbln_supervisor.core.control.protocol import LEAVING, ErrorReply, UpgradeReply
from rbln_supervisor.core.step.discovery_step import SendReply, StopRequested
from rbln_supervisor.core.step.upgrade_step import (
    StartUpgradeCheck,
    UpgradeCheckEnded,
    UpgradeEffect,
    UpgradeRequested,
    UpgradeState,
    step_upgrade,
)

FIRST = UpgradeRequested(b"a", is_busy=False)
GOOD = UpgradeCheckEnded(())


def is_refused(effect: UpgradeEffect | None, requester: bytes) -> bool:
    return (
        isinstance(effect, SendReply)
        and effect.requester == requester
        and isinstance(effect.reply, ErrorReply)
    )


def test_a_good_check_makes_the_supervisor_the_installed_program() -> None:
    checking, effect = step_upgrade(UpgradeState(), FIRST)
    assert effect == StartUpgradeCheck()
    done, effect = step_upgrade(checking, GOOD)
    assert effect == SendReply(b"a", UpgradeReply())
    assert done.is_ready


def test_a_failed_check_changes_nothing_and_gives_its_reasons() -> None:
    checking, _ = step_upgrade(UpgradeState(), FIRST)
    state, effect = step_upgrade(checking, UpgradeCheckEnded(("no such option",)))
    assert is_refused(effect, b"a")
    assert isinstance(effect, SendReply)
    assert "no such option" in effect.reply.errors if isinstance(effect.reply, ErrorReply) else ()
    assert state == UpgradeState()


def test_a_second_request_is_refused_while_a_check_runs_or_its_process_ends() -> None:
    checking, _ = step_upgrade(UpgradeState(), FIRST)
    for before, is_busy in ((checking, True), (checking, False), (UpgradeState(), True)):
        state, effect = step_upgrade(before, UpgradeRequested(b"b", is_busy=is_busy))
        assert is_refused(effect, b"b")
        assert state == before


def test_a_supervisor_that_stops_does_not_upgrade() -> None:
    checking, _ = step_upgrade(UpgradeState(), FIRST)
    leaving, effect = step_upgrade(checking, StopRequested())
    assert effect == SendReply(b"a", LEAVING)
    assert step_upgrade(leaving, GOOD) == (leaving, None)
    assert step_upgrade(leaving, FIRST) == (leaving, SendReply(b"a", LEAVING))
    assert step_upgrade(UpgradeState(), StopRequested())[1] is None
