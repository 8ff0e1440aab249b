"""Translation of values to serialized messages of the kubelet's APIs.

A repeated field's members may be anywhere in a serialized message and are concatenated by the
reader (protobuf.dev, "Encoding", order of fields). So a device's share of an Allocate answer is
serialized once, when the device changes, and an answer is a join of bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.cdi import Mode, has_edits
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, EnvNames, env_vars
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb

_CONTAINER_TAG: Final = bytes([1 << 3 | 2])
"""Field 1, ``container_responses``, of wire type LEN."""


class SerializedDevice(msgspec.Struct, frozen=True):
    """A device's share of an Allocate answer."""

    info: str
    parts: Mapping[tuple[str, str], bytes]
    """Serialized members, each by its kind and what must be unique in an answer: a node's host
    path, a mount's container path, or the device's name for the container runtime."""


def encode_share(answer: DeviceAllocation, mode: Mode = "off", claim: str = "") -> SerializedDevice:
    """Return a device's share; with CDI that is only its name, because the spec has the rest."""
    parts: dict[tuple[str, str], bytes] = {}
    if mode != "off":
        if has_edits(answer):
            claims = pb.ContainerAllocateResponse()
            if mode in {"cri", "both"}:
                claims.cdi_devices.add(name=claim)
            parts["claim", claim] = claims.SerializeToString()
        return SerializedDevice(answer.info, parts)
    for node in answer.nodes:
        device = pb.ContainerAllocateResponse()
        device.devices.add(container_path=node.container, host_path=node.host, permissions="rw")
        parts.setdefault(("node", node.host), device.SerializeToString())
    for one in answer.mounts:
        mount = pb.ContainerAllocateResponse()
        mount.mounts.add(container_path=one.container, host_path=one.host, read_only=True)
        parts.setdefault(("mount", one.container), mount.SerializeToString())
    return SerializedDevice(answer.info, parts)


def container_member(
    names: EnvNames,
    ids: Sequence[str],
    shares: Mapping[str, SerializedDevice],
    annotation: str = "",
) -> bytes:
    """Serialize a container's member of an Allocate answer; all of ``ids`` have a share.

    ``annotation`` is the key of the annotation with claimed devices; empty: no annotation.
    """
    ordered = sorted(ids)
    parts: dict[tuple[str, str], bytes] = {}
    for device in dict.fromkeys(ordered):
        for key, part in shares[device].parts.items():
            parts.setdefault(key, part)
    infos = {device: shares[device].info for device in ordered}
    own = pb.ContainerAllocateResponse(envs=env_vars(names, ordered, infos))
    if annotation:
        claims = ",".join(name for kind, name in parts if kind == "claim")
        if claims:
            own.annotations[annotation] = claims
    body = b"".join((own.SerializeToString(), *parts.values()))
    return b"".join((_CONTAINER_TAG, _encode_length(len(body)), body))


def _encode_length(number: int) -> bytes:
    """Encode a length (protobuf.dev, "Encoding", Base 128 Varints)."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def list_entry(device: Device, verdict: Verdict, pool: PoolSpec) -> bytes:
    """Return a device's entry of a ListAndWatch message, which is the concatenation of all entries.

    An entry has the health, and the NUMA node if it is known and not excluded.
    """
    return pb.ListAndWatchResponse(
        devices=[
            pb.Device(
                ID=device.id,
                health="Healthy" if verdict.healthy else "Unhealthy",
                topology=_numa_topology(device, pool),
            )
        ]
    ).SerializeToString()


def _numa_topology(device: Device, pool: PoolSpec) -> pb.TopologyInfo | None:
    node = device.function.numa_node
    if node is None or pool.exclude_topology:
        return None  # no topology at all: with a node -1 the kubelet refuses to align anything
    return pb.TopologyInfo(nodes=[pb.NUMANode(ID=node)])
