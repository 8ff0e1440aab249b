"""Preferred allocations of real processes, for cards that share bridges."""

from collections.abc import Iterator

import grpc
import pytest

from rbln_supervisor.core.control.protocol import Reload, ReloadReply
from rbln_supervisor.ctl.client import send_request
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.rpc import DEVICE_PLUGIN, channel_to, code_of, unary
from tests.sim.stack import Stack
from tests.system.scene import config, details_of, eventually, pool, served

pytestmark = pytest.mark.system

CARDS = tuple(tuple(f"0000:{card}{n}:00.0" for n in range(5, 9)) for card in (1, 2, 3, 4))
"""Four cards of four NPUs, the first two on NUMA node 0."""
VFS = ("0000:55:00.1", "0000:55:00.2", "0000:65:00.1")
FREE, STRICT, OLD = "rebellions.ai/FREE", "rebellions.ai/STRICT", "rebellions.ai/OLD"


def build(node: SimNode) -> None:
    for number, card in enumerate(CARDS):
        bus = number + 1
        node.add(
            *(
                SimDevice(
                    bdf,
                    device="1250",
                    numa=number // 2,
                    rbln=f"rbln{4 * number + n}",
                    parents=(f"0000:{bus}0:01.0", f"0000:{bus}1:00.0", f"0000:{bus}2:04.0"),
                )
                for n, bdf in enumerate(card)
            )
        )
    for n, (pf, count) in enumerate((("0000:55:00.0", 2), ("0000:65:00.0", 1))):
        parents = (f"0000:{pf[5]}0:01.0", f"0000:{pf[5]}1:00.0")
        node.add(SimDevice(pf, device="1220", numa=n, parents=parents, driver=None, totalvfs=4))
        node.enable_vfs(pf, count, driver="rebellions")
    node.add(SimDevice("0000:70:00.0", device="1120", rbln="rbln70"))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    pools = config(
        pool("FREE", devices=["1250"], allowCrossNuma=True),
        pool("STRICT", devices=["1221"]),
        pool("OLD", devices=["1120"]),
    )
    with Stack(pools, build) as stack:
        served(stack, FREE, STRICT, OLD)
        yield stack


def test_a_request_stays_below_one_bridge_where_it_can(stack: Stack) -> None:
    everything = [bdf for card in CARDS for bdf in card]
    ask = stack.kubelet.preferred
    assert ask(FREE, everything[::-1], [], 4) == list(CARDS[0])
    assert ask(FREE, everything, [CARDS[3][1]], 4) == list(CARDS[3])
    assert ask(FREE, everything[1:], [], 4) == list(CARDS[1])
    assert ask(FREE, [*CARDS[0][:3], *CARDS[2], CARDS[3][0]], [], 5) == [*CARDS[2], CARDS[3][0]]
    assert ask(FREE, everything, [], 16) == everything
    assert set(CARDS[0]) <= set(ask(FREE, everything, [], 9))


def test_virtual_functions_count_as_their_cards(stack: Stack) -> None:
    assert stack.kubelet.preferred(STRICT, VFS, [], 2) == list(VFS[:2])
    assert stack.kubelet.preferred(STRICT, VFS, [VFS[2]], 1) == [VFS[2]]


@pytest.mark.parametrize(("must", "size"), [([], 3), ([VFS[2]], 2)])
def test_what_would_cross_is_refused_where_the_pool_forbids_it(
    stack: Stack, must: list[str], size: int
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stack.kubelet.preferred(STRICT, VFS, must, size)
    assert code_of(caught.value) == "UNKNOWN"
    assert details_of(caught.value) == (
        "cross-NUMA allocation not possible: no NUMA node with sufficient devices "
        f"(>= {size}) found, topology-aware allocation failed"
    )
    assert stack.kubelet.preferred(STRICT, VFS, [], 2) == list(VFS[:2])


def test_another_product_is_left_to_the_kubelet(stack: Stack) -> None:
    assert stack.kubelet.preferred(OLD, ["0000:70:00.0"], [], 1) == []


def test_a_reload_brings_another_policy_to_the_worker_that_serves() -> None:
    everything = [bdf for card in CARDS[:2] for bdf in card]
    choices = {
        "packed": [everything[1], everything[2]],
        "spread": [everything[1], everything[4]],
        "none": [],
        "topology": [everything[1], everything[2]],
    }

    def of(policy: str) -> dict[str, object]:
        return pool("FREE", pciAddresses=everything, preferredAllocation=policy)

    with Stack(config(of("topology")), build) as stack:
        served(stack, FREE)
        workers = stack.workers()
        for policy, choice in choices.items():
            stack.write_config(config(of(policy)))
            assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)
            eventually(
                lambda choice=choice: (  # type: ignore[misc]
                    stack.kubelet.preferred(FREE, everything[1:], [], 2) == choice
                ),
                what=f"the choice of {policy}",
            )
        assert stack.workers() == workers


def test_a_switch_more_or_less_turns_nothing_off() -> None:
    deep = ("0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0", "0000:05:00.0")
    above = (deep, deep, ("0000:06:00.0",))

    def build(node: SimNode) -> None:
        node.add(
            *(
                SimDevice(
                    bdf,
                    device="1250",
                    numa=0,
                    rbln=f"rbln{4 * number + n}",
                    parents=(*above[number], f"0000:1{number}:00.0", f"0000:2{number}:0{n}.0"),
                )
                for number, card in enumerate(CARDS[:3])
                for n, bdf in enumerate(card)
            )
        )

    with Stack(config(pool("FREE", devices=["1250"])), build) as stack:
        served(stack, FREE)
        available = [*CARDS[0][1:], *CARDS[1], *CARDS[2][2:]]
        choices = {2: CARDS[2][2:], 3: CARDS[0][1:], 4: CARDS[1], 5: CARDS[0][1:] + CARDS[2][2:]}
        for size, choice in choices.items():
            assert stack.kubelet.preferred(FREE, available, [], size) == list(choice)


def test_a_hostile_call_gets_an_answer_and_harms_nobody(stack: Stack) -> None:
    everything = [bdf for card in CARDS for bdf in card]
    worker = stack.status().pools[FREE].worker
    one = pb.ContainerPreferredAllocationRequest
    strangers = [f"device {n}" for n in range(50_000)]
    requests = (
        pb.PreferredAllocationRequest(
            container_requests=[one(available_deviceIDs=everything, allocation_size=7)] * 3000
        ),
        pb.PreferredAllocationRequest(container_requests=[one()] * 500_000),
        pb.PreferredAllocationRequest(
            container_requests=[
                one(
                    available_deviceIDs=[*strangers, *everything * 100],
                    must_include_deviceIDs=strangers,
                    allocation_size=2**31 - 1,
                )
            ]
        ),
    )
    endpoint = stack.kubelet.resource(FREE).endpoint
    assert endpoint is not None
    with channel_to(stack.kubelet.plugins / endpoint) as channel:
        call = unary(
            channel, DEVICE_PLUGIN, "GetPreferredAllocation", pb.PreferredAllocationResponse
        )
        answers = [call(request, timeout=60) for request in requests]
    for request, answer in zip(requests, answers, strict=True):
        assert len(answer.container_responses) == len(request.container_requests)
    assert list(answers[-1].container_responses[0].deviceIDs) == everything
    assert stack.kubelet.preferred(FREE, everything, [], 4) == list(CARDS[0])
    after = stack.status().pools[FREE]
    assert (after.worker.pid, after.worker.restarts) == (worker.pid, 0)
    assert after.problems == ()


@pytest.mark.parametrize("name", [FREE, OLD])
@pytest.mark.parametrize(
    ("available", "must", "size"),
    [
        ([], [], 1),
        ([], [], 0),
        (["?"], ["!"], 1),
        ([CARDS[0][0], "?"], [], 2),
        ([CARDS[0][0]] * 3, [], 2),
        ([CARDS[0][0]], [CARDS[1][0]], 1),
        ([CARDS[0][0]], [], -(2**31)),
        ([CARDS[0][0]], [], 2**31 - 1),
        (list(CARDS[0]), list(CARDS[0]), 2),
        (["\x00" * 100, "../../../etc/passwd"], [], 1),
    ],
)
def test_an_odd_question_has_a_legal_answer(
    stack: Stack, name: str, available: list[str], must: list[str], size: int
) -> None:
    chosen = stack.kubelet.preferred(name, available, must, size)
    assert len(set(chosen)) == len(chosen) <= max(size, len(must))
    assert set(chosen) <= {*available, *must}
    assert stack.status().pools[name].worker.restarts == 0
