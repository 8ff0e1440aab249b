"""A client of the kubelet's pod-resources API (v1, KEP-606): the devices of pods."""

import os
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from rbln_worker.contract.pod_devices import MAX_NAME, PodDevice, ResourceHolders
from rbln_worker.kubelet.api import podresources_pb2 as pb
from rbln_worker.kubelet.service import LOCAL_OPTIONS, error_text

SOCKET: Final = "kubelet.sock"
"""The file name in the folder pod-resources of the kubelet's --root-dir."""
LIST_TIMEOUT_S: Final = 2.0
MAX_BYTES: Final = 16 * 1024 * 1024
"""Maximum bytes of an answer, as in the kubelet's own clients; a longer one is an error."""

_PCI_NAME: Final = re.compile(r"([0-9a-f]{4,8})-([0-9a-f]{2})-([0-9a-f]{2})-([0-7])")
_METHOD: Final = f"/{pb.DESCRIPTOR.services_by_name['PodResourcesLister'].full_name}/List"
_OPTIONS: Final = (
    *LOCAL_OPTIONS,
    ("grpc.max_receive_message_length", MAX_BYTES),
)


def list_pod_devices(
    socket: Path, resources: Container[str] | None, *, within_s: float = LIST_TIMEOUT_S
) -> ResourceHolders:
    """List the devices of containers with these resources (None: all), within a time-out.

    Devices of ResourceClaims are listed in any case.
    """
    try:
        os.stat(socket)  # noqa: PTH116 - a local socket: one call, no waiting
    except (FileNotFoundError, NotADirectoryError):
        return ResourceHolders(absent=f"{socket}")
    except OSError as error:
        return ResourceHolders(unknown=f"{socket}: {error.strerror}")
    try:
        answer = pb.ListPodResourcesResponse.FromString(_call_list(socket, within_s))
    except grpc.RpcError as error:
        return ResourceHolders(unknown=f"{socket}: {error_text('List', error)}")
    except DecodeError:
        return ResourceHolders(unknown=f"{socket}: List: the answer can't be understood")
    return ResourceHolders(tuple(sorted(_resource_holders(answer, resources))))


def _call_list(socket: Path, within_s: float) -> bytes:
    with grpc.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
        # Bytes instead of a message, because gRPC would hide the reason of a decoding error.
        call = channel.unary_unary(
            _METHOD, request_serializer=bytes, response_deserializer=lambda answer: answer
        )
        answer: bytes = call(b"", timeout=within_s)  # the request has no fields
        return answer


def _resource_holders(
    answer: pb.ListPodResourcesResponse, resources: Container[str] | None
) -> Iterator[PodDevice]:
    for pod in answer.pod_resources:
        names = pod.namespace[:MAX_NAME], pod.name[:MAX_NAME]
        for container in pod.containers:
            holder = container.name[:MAX_NAME]
            for devices in container.devices:
                if resources is None or devices.resource_name in resources:
                    for device in devices.device_ids:
                        yield PodDevice(devices.resource_name, device, *names, holder)
            for dynamic in container.dynamic_resources:
                claim = f"{dynamic.claim_namespace}/{dynamic.claim_name}"[: 2 * MAX_NAME]
                for one in dynamic.claim_resources:
                    device = _device_of_claim(one.device_name[:MAX_NAME])
                    driver = one.driver_name[:MAX_NAME]
                    yield PodDevice(driver, device, *names, holder, claim=claim)


def _device_of_claim(name: str) -> str:
    """Return the ID of a PCI function whose name in ResourceSlices is ``0000-3b-00-0``."""
    found = _PCI_NAME.fullmatch(name)
    return "{}:{}:{}.{}".format(*found.groups()) if found else name
