"""A roster over any time: who is listed, for how long, and when it counts as changed."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.workers.desired_state import DesiredState, next_removal
from rbln_worker.contract.pool import PoolSpec
from tests.property.worlds import GRACE_S, LOOK, Look, look_at, present_in, taken_in

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")


@given(st.lists(LOOK, max_size=12))
def test_any_story(story: list[Look]) -> None:
    roster, now = DesiredState(POOL), 0.0
    for look in story:
        now += look[-1]
        before, roster = roster, look_at(roster, look, now)
        well = {name for name, device in roster.devices.items() if device.gone is None}
        gone = {name for name, device in roster.devices.items() if device.gone is not None}
        assert {str(name) for name in well} == present_in(look)
        assert not {str(name) for name in gone} & taken_in(look)
        assert gone == roster.gone_since.keys()
        assert all(now < since + GRACE_S for since in roster.gone_since.values())
        assert all(roster.gone_since[name] == before.gone_since.get(name, now) for name in gone)
        assert gone <= before.devices.keys()
        assert list(roster.devices) == sorted(roster.devices)

        same = (roster.pool, roster.devices) == (before.pool, before.devices)
        is_unchanged = same and before.generation > 0
        assert roster.generation == before.generation + (not is_unchanged)


@given(st.lists(LOOK, min_size=1, max_size=6))
def test_the_same_look_at_once_again_changes_nothing(story: list[Look]) -> None:
    roster, now = DesiredState(POOL), 0.0
    for look in story:
        now += look[-1]
        roster = look_at(roster, look, now)
    assert look_at(roster, story[-1], now) == roster


@given(st.lists(LOOK, min_size=1, max_size=6))
def test_who_is_gone_leaves_when_it_was_said(story: list[Look]) -> None:
    roster, now = DesiredState(POOL), 0.0
    for look in story:
        now += look[-1]
        roster = look_at(roster, look, now)
    for _ in range(10):
        leave = next_removal(roster, GRACE_S)
        if leave is None:
            break
        assert leave > now
        before, now = roster, leave
        roster = look_at(roster, story[-1], now)
        assert len(roster.devices) < len(before.devices)
    assert roster.gone_since == {}
    assert all(device.gone is None for device in roster.devices.values())
