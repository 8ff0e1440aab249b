"""GetPreferredAllocation at its edge: nothing that is asked or that breaks fails a pod."""

import asyncio
import logging
from collections.abc import Iterable

import pytest

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import Bdf, DeviceId
from rbln_worker.core.preferred.budget import MAX_STEPS
from rbln_worker.core.preferred.choose import PreferenceRefused
from rbln_worker.core.preferred.topology import DeviceTopology, PoolTopology
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.preferences import MAX_CONTAINERS, Preferences

IDS = [f"{card}.{n}" for card in range(4) for n in range(4)]


def known(*, cross: bool = True) -> PoolTopology:
    return PoolTopology(
        {DeviceId(one): DeviceTopology(int(one[0]) // 2, Bdf(one[0]), Bdf(one)) for one in IDS},
        may_cross=cross,
        policy="topology",
    )


def broken() -> PoolTopology:
    """A layout that a bug might make: its devices can't be put in order."""
    places = dict(known().places)
    places[DeviceId("0.0")] = DeviceTopology(None, Bdf("0"), Bdf("0.0"))  # type: ignore[arg-type]
    return PoolTopology(places, may_cross=True, policy="topology")


def container(
    available: Iterable[str], size: int, must: Iterable[str] = ()
) -> pb.ContainerPreferredAllocationRequest:
    return pb.ContainerPreferredAllocationRequest(
        available_deviceIDs=available, must_include_deviceIDs=must, allocation_size=size
    )


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Without those of asyncio, which speaks at debug, too."""
    return [record for record in caplog.records if record.name.startswith("rbln_worker.")]


class Told:
    """A pool's preferences, and what is counted."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.tally = WorkerCounters()
        self.preferences = Preferences(self.tally, steps)

    def ask(
        self, known: PoolTopology, *containers: pb.ContainerPreferredAllocationRequest
    ) -> list[list[str]]:
        request = pb.PreferredAllocationRequest(container_requests=containers)
        answer = asyncio.run(self.preferences.preferred_response(known, request))
        assert isinstance(answer, bytes)
        read = pb.PreferredAllocationResponse.FromString(answer)
        return [list(one.deviceIDs) for one in read.container_responses]


def test_each_container_has_an_answer_of_its_own() -> None:
    told = Told()
    assert told.ask(known()) == []
    asked = (container(IDS, 2), container(IDS, 1, ["3.1"]), container([], 1))
    assert told.ask(known(), *asked) == [["0.0", "0.1"], ["3.1"], []]
    assert told.ask(PoolTopology(policy="none"), *asked) == [[], [], []]
    assert told.tally.failed_preferences == 0


def test_a_refusal_is_the_answer_to_all_of_the_call() -> None:
    request = pb.PreferredAllocationRequest(
        container_requests=[container(IDS, 2), container(IDS, 9)]
    )
    answer = asyncio.run(Told().preferences.preferred_response(known(cross=False), request))
    assert isinstance(answer, PreferenceRefused)


def test_what_breaks_is_answered_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    with caplog.at_level(logging.DEBUG, "rbln_worker.kubelet"):
        assert told.ask(broken(), container(IDS, 3, ["1.2"])) == [["0.0", "0.1", "1.2"]]
        assert told.ask(broken(), container(IDS, 3, ["1.2", "1.3"])) == [["0.0", "1.2", "1.3"]]
        assert told.ask(broken(), container(IDS, 15)) == [IDS[:15]]
    (record,) = ours(caplog)
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert record.exc_info[0] is TypeError
    assert told.tally.failed_preferences == 3
    (problem,) = told.preferences.problems
    assert problem.text.startswith(
        "preferred allocation failed 3 times, devices were given as they come"
    )
    assert "TypeError" in problem.text
    assert told.ask(known(), container(IDS, 2)) == [["0.0", "0.1"]]  # and it goes on


@pytest.mark.parametrize("size", [-(2**31), -1, 0, 1, 2, 2**31 - 1])
@pytest.mark.parametrize("must", [(), ("0.1",), ("0.1", "0.1", "?")])
def test_what_breaks_is_answered_legally(size: int, must: tuple[str, ...]) -> None:
    available = ["0.0", "0.0", "0.1", "1.0"]
    (chosen,) = Told().ask(broken(), container(available, size, must))
    assert len(set(chosen)) == len(chosen)
    assert set(must) & set(IDS) <= set(chosen) <= {*available, *must}
    assert len(chosen) <= max(size, len(set(must)))


def test_a_spent_budget_is_counted_and_said_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(steps=20)
    with caplog.at_level(logging.DEBUG, "rbln_worker.kubelet"):
        answers = told.ask(known(), *[container(IDS, 6, ["0.1"])] * 20)
    assert all(len(set(answer)) == 6 and "0.1" in answer for answer in answers)
    assert told.tally.greedy_preferences == len(ours(caplog))
    assert 0 < told.tally.greedy_preferences < 20
    assert {record.levelname for record in ours(caplog)} == {"DEBUG"}
    assert told.tally.failed_preferences == 0


def test_of_thousands_of_containers_most_are_left_to_the_kubelet() -> None:
    told = Told()
    answers = told.ask(known(), *[container(IDS, 1)] * 5000)
    assert len(answers) == 5000
    assert answers[:MAX_CONTAINERS] == [["0.0"]] * MAX_CONTAINERS
    assert answers[MAX_CONTAINERS:] == [[]] * (5000 - MAX_CONTAINERS)


def test_huge_lists_are_read_once() -> None:
    strangers = [f"device {n}" for n in range(100_000)]
    asked = container([*strangers, *IDS * 100], 3, [*strangers[:5], "2.1"])
    assert Told().ask(known(), asked) == [["2.0", "2.1", "2.2"]]


def test_others_have_their_turn_between_two_containers() -> None:
    turns = 0

    async def beside() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def call() -> None:
        other = asyncio.create_task(beside())
        request = pb.PreferredAllocationRequest(container_requests=[container(IDS, 1)] * 10)
        await Told().preferences.preferred_response(known(), request)
        other.cancel()

    asyncio.run(call())
    assert turns >= 10
