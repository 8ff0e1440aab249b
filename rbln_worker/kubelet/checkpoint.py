"""A reader for the kubelet's checkpoint of allocations, which the plugin never writes.

The format is internal to the kubelet (pkg/kubelet/cm/devicemanager/checkpoint): since 1.20 an entry
has its devices by NUMA node, before that as a list. The checksum covers Go's formatting of the
values, which cannot be reproduced here: an entry is accepted if it has the right shape.
"""

import binascii
import os
import re
import stat
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from rbln_worker.contract.pod_devices import MAX_NAME, PodDevice
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb

FILE: Final = "kubelet_internal_checkpoint"
"""The file name in the folder device-plugins."""
MAX_BYTES: Final = 16 * 1024 * 1024
NUMBERED: Final = re.compile(r"/dev/[A-Za-z0-9._/-]*[0-9]")
"""The path of a node with a number of this boot, or of this load of a driver."""
_INFO: Final = re.compile(r"PCIDEVICE_.*_INFO")
_CONFIGURED: Final = frozenset({"extra", "extraInfo"})
"""Sections that repeat the configuration: paths in them were not found on the node."""


class Checkpoint(NamedTuple):
    """The content of a checkpoint."""

    devices: tuple[PodDevice, ...] = ()
    problem: str = ""
    """The reason for missing entries; empty if all is well or there is no checkpoint."""


class _Entry(msgspec.Struct):
    PodUID: str
    ContainerName: str
    ResourceName: str
    DeviceIDs: dict[str, list[str]] | list[str] | None = None
    AllocResp: str | None = None


class _CheckpointData(msgspec.Struct):
    PodDeviceEntries: list[msgspec.Raw] | None = None


class _File(msgspec.Struct):
    Data: _CheckpointData


_FILE: Final = msgspec.json.Decoder(_File)
_ENTRY: Final = msgspec.json.Decoder(_Entry)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read the checkpoint in a device-plugins folder; a missing one has no entries."""
    path = folder / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Checkpoint(problem=f"{path}: not a regular file")
            raw = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Checkpoint()
    except OSError as error:
        return Checkpoint(problem=f"{path}: {error.strerror}")
    if len(raw) > MAX_BYTES:
        return Checkpoint(problem=f"{path}: longer than {MAX_BYTES} bytes")
    found = parse_checkpoint(raw)
    return found._replace(problem=f"{path}: {found.problem}") if found.problem else found


def parse_checkpoint(raw: bytes) -> Checkpoint:
    """Return the devices of pods in a checkpoint's text."""
    try:
        entries = _FILE.decode(raw).Data.PodDeviceEntries or []
    except _UNREADABLE:
        return Checkpoint(problem="not a checkpoint that this version can read")
    devices: list[PodDevice] = []
    skipped = 0
    for one in entries:
        try:
            devices.extend(_pod_devices(_ENTRY.decode(one)))
        except (*_UNREADABLE, DecodeError, binascii.Error, ValueError):
            skipped += 1
    plural = "y" if skipped == 1 else "ies"
    problem = f"{skipped} entr{plural} can't be read" if skipped else ""
    return Checkpoint(tuple(sorted(set(devices))), problem)


def _pod_devices(entry: _Entry) -> Iterator[PodDevice]:
    names = entry.PodUID, entry.ContainerName, entry.ResourceName
    by_node = entry.DeviceIDs or []
    ids = by_node if isinstance(by_node, list) else [one for ids in by_node.values() for one in ids]
    if any(not 0 < len(name) <= MAX_NAME for name in (*names, *ids)):
        raise ValueError("a name is missing, or too long")
    response = pb.ContainerAllocateResponse.FromString(
        b64decode(entry.AllocResp or "", validate=True)
    )
    paths = _numbered_nodes(response)
    cdi = bool(response.cdi_devices) or any(
        key.startswith("cdi.k8s.io/") for key in response.annotations
    )
    for device in ids:
        yield PodDevice(
            entry.ResourceName,
            device,
            container=entry.ContainerName,
            uid=entry.PodUID,
            paths=paths.get(device, ()),
            cdi=cdi,
        )


def _numbered_nodes(response: pb.ContainerAllocateResponse) -> Mapping[str, tuple[str, ...]]:
    """Return the numbered nodes that the container was given, by device.

    The variable ``PCIDEVICE_…_INFO`` has the nodes of each device, by their paths in the container.
    """
    hosts = {spec.container_path: spec.host_path for spec in response.devices}
    paths: dict[str, tuple[str, ...]] = {}
    for name, text in response.envs.items():
        if not _INFO.fullmatch(name):
            continue
        try:
            infos = msgspec.json.decode(text, type=dict[str, dict[str, Any]])
        except _UNREADABLE:
            continue
        for device, sections in infos.items():
            inside = {
                value
                for section, keys in sections.items()
                if section not in _CONFIGURED and isinstance(keys, dict)
                for value in keys.values()
                if isinstance(value, str)
            }
            found = {hosts[value] for value in inside if value in hosts}
            paths[device] = tuple(sorted(path for path in found if NUMBERED.fullmatch(path)))
    return paths
