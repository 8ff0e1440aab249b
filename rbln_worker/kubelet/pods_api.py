"""A watch of the kubelet's Pods API (v1alpha1, KEP-4188): the node's pods, and their changes.

The kubelet offers it since 1.36 behind a feature gate that is on since 1.37. It refuses a watch
with FAILED_PRECONDITION until it knows its pods: the list after a kubelet's start is complete.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from rbln_worker.contract.errors import RblnError
from rbln_worker.contract.pod_devices import MAX_NAME, Pod
from rbln_worker.kubelet.api import pods_pb2 as pb
from rbln_worker.kubelet.service import LOCAL_OPTIONS, error_text

SOCKET: Final = "pods-api.sock"
"""The file name in the folder pods-api of the kubelet's root folder."""
SYNC_TIMEOUT_S: Final = 2.0
"""Maximum seconds for the initial list; it takes 2 ms on an idle node."""
MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""Maximum size of an event: a pod is at most 1.5 MiB (etcd's limit of a request)."""
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_METHOD: Final = f"/{pb.DESCRIPTOR.services_by_name['Pods'].full_name}/WatchPods"
_OPTIONS: Final = (
    *LOCAL_OPTIONS,
    ("grpc.max_receive_message_length", MAX_EVENT_BYTES),
)


class WatchError(RblnError):
    """The watch could not be opened, or has ended; the text has the reason."""


async def watch_pods(
    socket: Path,
    *,
    on_synced: Callable[[Mapping[str, Pod]], None],
    on_changed: Callable[[Pod], None],
    on_deleted: Callable[[str], None],
) -> NoReturn:
    """Watch until WatchError is raised: the initial list as a whole, then each change."""
    try:
        async with grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
            call = channel.unary_stream(
                _METHOD, request_serializer=bytes, response_deserializer=lambda raw: raw
            )(b"")
            initial: dict[str, Pod] = {}
            async with asyncio.timeout(SYNC_TIMEOUT_S):
                while (event := await _next_event(call)).type != pb.INITIAL_SYNC_COMPLETE:
                    if event.type in {pb.ADDED, pb.MODIFIED}:
                        pod = decode_pod(event.pod)
                        initial[pod.uid] = pod
            on_synced(initial)
            while True:
                event = await _next_event(call)
                if event.type == pb.DELETED:
                    on_deleted(decode_pod(event.pod).uid)
                elif event.type in {pb.ADDED, pb.MODIFIED}:
                    on_changed(decode_pod(event.pod))
    except TimeoutError as error:
        raise WatchError(f"no initial list within {SYNC_TIMEOUT_S:g} s") from error
    except grpc.RpcError as error:
        raise WatchError(error_text("WatchPods", error)) from error
    except DecodeError as error:
        raise WatchError("an event can't be understood") from error


def decode_pod(raw: bytes) -> Pod:
    """Decode a pod; raise DecodeError."""
    pod = pb.Pod.FromString(raw)
    meta, status = pod.metadata, pod.status
    if not 0 < len(meta.uid) <= MAX_NAME:
        raise DecodeError("a pod without a UID")
    containers = (*status.container_statuses, *status.init_container_statuses)
    return Pod(
        uid=meta.uid,
        namespace=meta.namespace[:MAX_NAME],
        name=meta.name[:MAX_NAME],
        since=float(max(0, status.start_time.seconds)),
        has_ended=status.phase in _ENDED,
        devices=tuple(
            (container.name[:MAX_NAME], resource.name, device.resource_id)
            for container in containers
            for resource in container.allocated_resources_status
            for device in resource.resources
            if 0 < len(device.resource_id) <= MAX_NAME and 0 < len(resource.name) <= MAX_NAME
        ),
    )


async def _next_event(call: "grpc.aio.UnaryStreamCall[Any, bytes]") -> pb.WatchPodsEvent:
    raw = await call.read()
    if not isinstance(raw, bytes):  # grpc.aio.EOF
        raise WatchError("the kubelet ended the watch")
    return pb.WatchPodsEvent.FromString(raw)
