"""Lost allocatable, in simulated time: what is counted is what was lost, and nothing twice."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.reporting.pool_counters import PoolCounters
from rbln_supervisor.core.reporting.unavailability import (
    LossCause,
    Unavailability,
    advance_unavailability,
    unavailable_devices,
)
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_supervisor.core.workers.lifecycle import State
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.health import Judged, Verdict
from rbln_worker.contract.messages import Phase, Report
from rbln_worker.contract.pool import PoolSpec

IDS = tuple(DeviceId(f"0000:2{n}:00.0") for n in range(4))
WELL, ILL = Verdict(healthy=True), Verdict(healthy=False, reason="r", source="link")


def roster(gone: Iterable[DeviceId] = (), ids: Iterable[DeviceId] = IDS) -> DesiredState:
    return DesiredState(
        PoolSpec("a.b", "c", "accelerator"),
        {
            one: Device(
                one,
                PciFunction(Bdf(one), "1eff", "1120", 0x12, "rebellions", 0),
                gone="unplugged" if one in gone else None,
            )
            for one in ids
        },
    )


def report(phase: Phase = Phase.REGISTERED, **verdicts: Verdict) -> Report:
    """By the position of a device, ``d0`` to ``d3``; Healthy where nothing is said."""
    return Report(
        phase, devices=tuple(Judged(one, verdicts.get(f"d{n}", WELL)) for n, one in enumerate(IDS))
    )


def seconds_of(account: PoolCounters, now: float) -> dict[tuple[str, str], float]:
    """What was lost, by cause and source."""
    return dict(account.metrics_until(now).lost)


SEEN = [
    (State.UP, report(), {}),
    (State.UP, report(d1=ILL), {LossCause("unhealthy", "link"): 1}),
    (State.UP, report(Phase.REGISTERING, d1=ILL), {LossCause("unregistered"): 4}),
    (State.UP, report(Phase.WAITING), {LossCause("kubelet-away"): 4}),
    (State.UP, None, {LossCause("unregistered"): 4}),
    (State.UP, Report(Phase.REGISTERED), {LossCause("unhealthy", "not-checked"): 4}),
    (State.UP, report(d0=Verdict(healthy=True, source="node")), {}),
    (State.ADOPTING, None, {}),
    *(
        (state, report(), {LossCause("worker-down"): 4})
        for state in State
        if state not in {State.UP, State.ADOPTING}
    ),
]


@pytest.mark.parametrize(("state", "said", "wanted"), SEEN)
def test_what_is_lost_at_a_moment(
    state: State, said: Report | None, wanted: dict[LossCause, int]
) -> None:
    assert unavailable_devices(roster(), state, said) == wanted
    assert unavailable_devices(None, state, said) == {}


def test_a_device_that_is_gone_counts_while_it_is_listed() -> None:
    assert unavailable_devices(roster(gone=IDS[:1]), State.UP, report()) == {
        LossCause("unhealthy", "sysfs"): 1
    }
    assert unavailable_devices(roster(ids=IDS[1:]), State.UP, report()) == {}


def test_a_worker_that_is_killed_costs_its_devices_while_they_are_not_listed() -> None:
    account = PoolCounters()
    moments: list[tuple[float, State, Report | None]] = [
        (10.0, State.UP, report()),
        (20.0, State.DOWN, None),
        (20.5, State.STARTING, None),
        (21.0, State.UP, report(Phase.REGISTERING)),
        (21.25, State.UP, report(d0=ILL)),
        (23.25, State.UP, report()),
    ]
    for at, state, said in moments:
        account.update_unavailability(roster(), state, said, at)
    assert seconds_of(account, 99.0) == {
        ("unhealthy", "link"): 1 * 2.0,
        ("unregistered", ""): 4 * 0.25,
        ("worker-down", ""): 4 * 1.0,
    }


def test_what_is_lost_now_grows_with_every_question() -> None:
    account = PoolCounters()
    account.update_unavailability(roster(), State.DOWN, None, 5.0)
    seconds = [account.metrics_until(at).lost[0][1] for at in (6.0, 6.0, 8.0)]
    assert seconds == [4.0, 4.0, 12.0]


def test_the_kernels_first_word_counts_until_the_worker_is_told() -> None:
    account = PoolCounters()
    account.stop_latency(1.0)
    account.start_latency(None)
    account.stop_latency(2.0)
    assert sum(account.metrics_until(2.0).latency.counts) == 0
    account.start_latency(3.0)
    account.start_latency(3.5)
    account.stop_latency(3.02)
    account.stop_latency(4.0)
    latency = account.metrics_until(4.0).latency
    assert sum(latency.counts) == 1
    assert latency.sum_s == pytest.approx(0.02)
    account.start_latency(5.0)
    account.cancel_latency()
    account.stop_latency(6.0)
    assert sum(account.metrics_until(6.0).latency.counts) == 1


STATES = st.sampled_from([(state, said) for state, said, _ in SEEN])
STEPS = st.lists(st.tuples(st.floats(0, 1e4), STATES), min_size=1, max_size=30)


@given(STEPS, st.floats(0, 100))
def test_it_is_the_sum_over_time_whoever_asks_in_between(
    steps: list[tuple[float, tuple[State, Report | None]]], rest: float
) -> None:
    steps = sorted(steps, key=lambda step: step[0])
    account, asked = PoolCounters(), PoolCounters()
    before: dict[tuple[str, str], float] = {}
    for at, (state, said) in steps:
        account.update_unavailability(roster(), state, said, at)
        asked.update_unavailability(roster(), state, said, at)
        now = seconds_of(asked, at)
        assert all(now.get(why, 0.0) >= seconds for why, seconds in before.items())
        before = now
    end = steps[-1][0] + rest
    wanted: dict[tuple[str, str], float] = {}
    for (at, (state, said)), (until, _) in pairwise([*steps, (end, steps[-1][1])]):
        for why, count in unavailable_devices(roster(), state, said).items():
            wanted[why] = wanted.get(why, 0.0) + count * (until - at)
    for one in (account, asked):
        counted = seconds_of(one, end)
        assert {why: s for why, s in counted.items() if s} == pytest.approx(
            {tuple(why): s for why, s in wanted.items() if s}
        )
        assert sum(counted.values()) <= len(IDS) * (end - steps[0][0]) * (1 + 1e-9) + 1e-9


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_time_that_seems_to_go_back_counts_nothing(first: float, second: float) -> None:
    loss = advance_unavailability(Unavailability(), {LossCause("worker-down"): 2}, first)
    after = advance_unavailability(loss, {}, second)
    assert after.seconds[LossCause("worker-down")] == 2 * max(0.0, second - first)
    assert after.at == max(first, second)
