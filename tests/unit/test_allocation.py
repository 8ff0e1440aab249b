"""The answer to Allocate as a value: whole or not at all, in bounded time."""

from collections.abc import Sequence

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.device_allocation import env_names
from rbln_worker.kubelet.allocation import MAX_REQUESTED, Refusal, build_response
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.prepared import PreparedAnswers
from rbln_worker.kubelet.translate import SerializedDevice

POOL = PoolName("rebellions.ai/ATOM")
FREE = ("0000:20:00.0", "0000:21:00.0", "0000:22:00.0")
SICK = "0000:23:00.0"
PREPARED = PreparedAnswers(
    pool=POOL,
    names=env_names(POOL),
    shares={device: SerializedDevice(f'"{device}":{{}}', {}) for device in FREE},
    refusals={SICK: "unplugged"},
)


def request(containers: Sequence[Sequence[str]]) -> pb.AllocateRequest:
    return pb.AllocateRequest(
        container_requests=[pb.ContainerAllocateRequest(devicesIDs=ids) for ids in containers]
    )


@given(st.lists(st.lists(st.sampled_from([*FREE, SICK, "no such device"]), max_size=5), max_size=5))
def test_every_container_gets_its_devices_or_none_gets_any(containers: list[list[str]]) -> None:
    given = build_response(PREPARED, request(containers))
    strange = [device for ids in containers for device in ids if device not in FREE]
    if strange:
        assert isinstance(given, Refusal)
        assert strange[0] in given.why
        wanted = "FAILED_PRECONDITION" if strange[0] == SICK else "INVALID_ARGUMENT"
        assert given.code.name == wanted
    else:
        assert isinstance(given, bytes)
        members = pb.AllocateResponse.FromString(given).container_responses
        told = [one.envs["PCIDEVICE_REBELLIONS_AI_ATOM"] for one in members]
        assert told == [",".join(sorted(ids)) for ids in containers]


@pytest.mark.parametrize(
    ("containers", "fits"),
    [
        ([[FREE[0]] * (MAX_REQUESTED - 1)], True),
        ([[FREE[0]] * MAX_REQUESTED], False),
        ([[]] * MAX_REQUESTED, True),
        ([[]] * (MAX_REQUESTED + 1), False),
    ],
)
def test_a_call_may_name_so_many(containers: list[list[str]], *, fits: bool) -> None:
    given = build_response(PREPARED, request(containers))
    if fits:
        assert isinstance(given, bytes)
        members = pb.AllocateResponse.FromString(given).container_responses
        told = [one.envs["PCIDEVICE_REBELLIONS_AI_ATOM"] for one in members]
        assert told == [",".join(ids) for ids in containers]
    else:
        assert isinstance(given, Refusal)
        assert given.code is grpc.StatusCode.INVALID_ARGUMENT
        assert str(MAX_REQUESTED) in given.why
        assert "3 devices to give" in given.why
