"""Calls to a pool's own socket, as the kubelet makes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim.rpc import DEVICE_PLUGIN, channel_to, unary

TIMEOUT_S: Final = 20.0


def allocate(socket: Path, ids: Sequence[str]) -> pb.ContainerAllocateResponse:
    """What a container with these devices gets."""
    request = pb.AllocateRequest(container_requests=[pb.ContainerAllocateRequest(devicesIDs=ids)])
    with channel_to(socket) as channel:
        call = unary(channel, DEVICE_PLUGIN, "Allocate", pb.AllocateResponse)
        return call(request, timeout=TIMEOUT_S).container_responses[0]


def preferred(socket: Path, available: Sequence[str], size: int) -> list[str]:
    """The devices that the pool would like a container to get."""
    one = pb.ContainerPreferredAllocationRequest(
        available_deviceIDs=available, allocation_size=size
    )
    request = pb.PreferredAllocationRequest(container_requests=[one])
    with channel_to(socket) as channel:
        call = unary(
            channel, DEVICE_PLUGIN, "GetPreferredAllocation", pb.PreferredAllocationResponse
        )
        reply = call(request, timeout=TIMEOUT_S)
    return [each for response in reply.container_responses for each in response.deviceIDs]
