"""The answer to Allocate, or a refusal: for all devices or none."""

from typing import Final

import grpc
import msgspec

from rbln_worker.kubelet import translate
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.prepared import PreparedAnswers

MAX_REQUESTED: Final = 16_384
"""Maximum number of devices and containers in one call. The kubelet sends one container at a time,
and each device once (pkg/kubelet/cm/devicemanager); a pool has at most a few thousand."""


class Refusal(msgspec.Struct, frozen=True):
    """A refusal: nothing was allocated."""

    code: grpc.StatusCode
    why: str


def build_response(prepared: PreparedAnswers, request: pb.AllocateRequest) -> bytes | Refusal:
    """Return the serialized AllocateResponse, one member for each container.

    A Refusal has the code INVALID_ARGUMENT or FAILED_PRECONDITION.
    """
    containers = request.container_requests
    asked = len(containers) + sum(len(container.devicesIDs) for container in containers)
    if asked > MAX_REQUESTED:
        return Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"a call names {MAX_REQUESTED} devices and containers at most, not {asked}; "
            f"{prepared.pool} has {len(prepared.shares)} devices to give",
        )
    members = []
    for container in containers:
        ids = container.devicesIDs
        unknown = next((device for device in ids if device not in prepared.shares), None)
        if unknown is not None:
            return _refusal_for(prepared, unknown)
        members.append(
            translate.container_member(prepared.names, ids, prepared.shares, prepared.annotation)
        )
    return b"".join(members)


def _refusal_for(prepared: PreparedAnswers, device: str) -> Refusal:
    if device in prepared.refusals:
        return Refusal(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"device {device} of {prepared.pool} can't be used: {prepared.refusals[device]}",
        )
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, f"device {device[:80]!r} is not one of {prepared.pool}"
    )
