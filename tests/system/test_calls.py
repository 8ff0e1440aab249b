"""What the kubelet's calls get: the stream of devices, and answers to odd questions."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc
import pytest

from tests.sim.kubelet_records import SeenDevice
from tests.sim.plugin_client import PluginClient
from tests.sim.rpc import code_of
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    VM,
    VM_POOL,
    VMS,
    allocatable,
    config,
    details_of,
    served,
    untouched,
)

pytestmark = pytest.mark.system

ONE_POOL = config(ATOM_POOL)


class Reader:
    """A second reader of a pool's stream, beside the kubelet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[Mapping[str, SeenDevice]] = []

    def opened(self, _: PluginClient) -> None:
        pass

    def listed(self, _: PluginClient, devices: Mapping[str, SeenDevice]) -> None:
        with self._changed:
            self._messages.append(devices)
            self._changed.notify_all()

    def closed(self, _: PluginClient, __: str) -> None:
        pass

    def healthy(self, messages: int) -> list[int]:
        """How many devices were healthy in each of so many messages."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._messages) >= messages, 10.0)
            return [
                sum(d.health == "Healthy" for d in devices.values()) for devices in self._messages
            ]


@contextmanager
def reading(stack: Stack, name: str) -> Iterator[Reader]:
    endpoint = stack.kubelet.resource(name).endpoint
    assert endpoint is not None
    reader = Reader()
    client = PluginClient(name, stack.kubelet.plugins / endpoint, "kubelet-sock")
    client.dial(10.0)
    client.watch(reader)
    try:
        yield reader
    finally:
        client.close()


def test_two_streams_get_every_change_and_one_that_ends_harms_nobody() -> None:
    with Stack(ONE_POOL) as stack:
        served(stack, ATOM)
        with reading(stack, ATOM) as reader:
            assert reader.healthy(1) == [4]
            stack.node.remove_dev_node("rbln0")
            allocatable(stack, ATOM, 3)
            assert reader.healthy(2) == [4, 3]
            stack.node.add_dev_node("rbln0")
            allocatable(stack, ATOM, 4)
            assert reader.healthy(3) == [4, 3, 4]
        stack.node.remove_dev_node("rbln1")
        allocatable(stack, ATOM, 3)
        assert len(stack.kubelet.messages(ATOM)) == 4
        assert len(stack.kubelet.registrations) == 1
        assert not stack.kubelet.endings


def test_a_kubelet_that_reads_nothing_gets_the_newest_when_it_reads() -> None:
    briefly = {"firstSeconds": 0.05, "repeatSeconds": 0.05, "maxSeconds": 0.05}
    patient = {**ATOM_POOL, "health": {"probation": briefly}}
    with Stack(config(patient, VM_POOL)) as stack:
        served(stack)
        with untouched(stack, VM), reading(stack, ATOM) as reader:
            stack.kubelet.pause_reading()
            changes = 1
            reader.healthy(changes)
            for _ in range(20):
                for change in (stack.node.remove_dev_node, stack.node.add_dev_node):
                    change("rbln0")
                    changes += 1
                    reader.healthy(changes)  # the other stream is not held up
            stack.node.remove_dev_node("rbln3")
            reader.healthy(changes + 1)
            assert len(stack.kubelet.allocate(ATOM, [[ATOMS[0]]]).container_responses) == 1
            stack.kubelet.resume_reading()
            stack.kubelet.wait(
                lambda k: (
                    {d for d, seen in k.resource(ATOM).devices.items() if seen.health != "Healthy"}
                    == {ATOMS[3]}
                ),
                what="the newest",
            )


@pytest.mark.parametrize(
    ("available", "must", "size"),
    [
        (["0000:20:00.0", "no such device"], [], 1),
        (["no such device"], ["nor this"], 1),
        (list(ATOMS), [], 0),
        (list(ATOMS), list(ATOMS[:3]), 2),
        (list(ATOMS[:1]), [], 4),
        (list(ATOMS), [], 2_000_000_000),
        (list(ATOMS), [], -3),
        ([], [], 1),
    ],
)
def test_an_odd_question_for_a_preference_gets_a_legal_answer(
    shared: Stack, available: list[str], must: list[str], size: int
) -> None:
    preferred = shared.kubelet.preferred(ATOM, available, must, size)
    assert len(set(preferred)) == len(preferred)
    assert set(preferred) <= {*available, *must}
    assert len(preferred) <= max(size, len(must), 0)


@pytest.fixture(scope="module")
def shared() -> Iterator[Stack]:
    with Stack(ONE_POOL) as stack:
        served(stack, ATOM)
        yield stack


@pytest.mark.parametrize(
    ("device", "code", "text"),
    [
        ("0000:99:00.0", "INVALID_ARGUMENT", "device '0000:99:00.0' is not one of"),
        ("", "INVALID_ARGUMENT", "device '' is not one of"),
        ("../../x\n" * 50, "INVALID_ARGUMENT", "is not one of"),
        (VMS[0], "INVALID_ARGUMENT", f"device '{VMS[0]}' is not one of"),
        (ATOMS[1], "FAILED_PRECONDITION", "/dev/rbln1 does not exist"),
        (ATOMS[2], "FAILED_PRECONDITION", "unplugged"),
    ],
)
def test_a_device_that_cannot_be_had_is_an_error(
    sick: Stack, device: str, code: str, text: str
) -> None:
    for containers in ([[device]], [[ATOMS[0]], [ATOMS[0], device]]):
        with pytest.raises(grpc.RpcError) as caught:
            sick.kubelet.allocate(ATOM, containers)
        assert code_of(caught.value) == code
        details = details_of(caught.value)
        assert text in details
        assert ATOM in details
        assert "\n" not in details
    assert len(sick.kubelet.allocate(ATOM, [[ATOMS[0]]]).container_responses) == 1


@pytest.fixture(scope="module")
def sick() -> Iterator[Stack]:
    """A node where the second device of ATOM lost its node, and the third was unplugged."""
    with Stack(ONE_POOL) as stack:
        served(stack, ATOM)
        stack.node.remove_dev_node("rbln1")
        stack.node.remove(ATOMS[2])
        assert stack.ctl("rescan").returncode == 0
        allocatable(stack, ATOM, 2)
        yield stack


@pytest.mark.parametrize("containers", [[[ATOMS[0]] * 20_000], [[]] * 20_000])
def test_a_call_that_names_more_than_any_node_has_is_refused_whole(
    shared: Stack, containers: list[list[str]]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        shared.kubelet.allocate(ATOM, containers)
    assert code_of(caught.value) == "INVALID_ARGUMENT"
    assert "a call names 16384 devices and containers at most, not 2000" in details_of(caught.value)
    assert len(shared.kubelet.allocate(ATOM, [[ATOMS[0]]]).container_responses) == 1


def test_a_call_for_hundreds_of_containers_is_answered(shared: Stack) -> None:
    answer = shared.kubelet.allocate(ATOM, [list(ATOMS)] * 500)
    assert len(answer.container_responses) == 500
    assert {len(one.devices) for one in answer.container_responses} == {5}
