"""The CDI spec of a prepared claim: a transient file with devices that only this claim has.

Each device of the claim has its nodes and mounts; each request has environment variables and its
metadata file. The first line of the file holds the entry of the checkpoint, so that a lost
checkpoint can be made again from the specs.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.cdi import CDI_VERSION, edits_object
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, env_names, env_vars
from rbln_worker.core.allocation.providers.provider import Mount
from rbln_worker.core.dra.claim_entry import ClaimEntry, base_request
from rbln_worker.core.dra.names import dra_device_name
from rbln_worker.core.dra.rsd import with_group_node

HEADER: Final = b"# rbln-device-plugin: claim "
_FILE: Final = re.compile(r"rbln-claim-(?P<driver>[a-z0-9.-]+)_(?P<uid>[0-9A-Za-z-]+)\.yaml")


class PreparedDevice(msgspec.Struct, frozen=True):
    """A device of the answer to NodePrepareResources."""

    requests: tuple[str, ...]
    """Names of requests, without subrequests."""
    name: str
    """Its name in ResourceSlices."""
    cdi_ids: tuple[str, ...]


class SpecSource(msgspec.Struct, frozen=True):
    """The parts of a claim's spec, besides the claim."""

    driver: str
    pool: PoolName
    answers: Mapping[DeviceId, DeviceAllocation]
    metadata: Mapping[str, Mount]
    """Metadata files by request."""


def spec_file_name(driver: str, uid: str) -> str:
    """Return the name of a claim's spec file."""
    return f"rbln-claim-{driver}_{uid}.yaml"


def claim_of_file(name: str, driver: str) -> str:
    """Return the UID of a spec file of the driver; empty if it is none."""
    match = _FILE.fullmatch(name)
    return match["uid"] if match and match["driver"] == driver else ""


def prepared_devices(entry: ClaimEntry, driver: str) -> tuple[PreparedDevice, ...]:
    """Return the answer for a claim; the edits of a request come with its first device."""
    seen: set[str] = set()
    devices = []
    for device in entry.devices:
        requests = tuple(dict.fromkeys(map(base_request, device.requests)))
        name = dra_device_name(device.id)
        fresh = [one for one in requests if one not in seen]
        seen |= set(fresh)
        ids = (f"{entry.uid}-{name}", *(f"{entry.uid}_{one}" for one in fresh))
        devices.append(
            PreparedDevice(requests, name, tuple(f"{_cdi_kind(driver)}={one}" for one in ids))
        )
    return tuple(devices)


def claim_spec_text(entry: ClaimEntry, source: SpecSource) -> bytes:
    """Return the text of a claim's spec. JSON is YAML, and YAML has comments."""
    devices = [
        {
            "name": f"{entry.uid}-{dra_device_name(device.id)}",
            "containerEdits": _device_edits(source.answers[device.id], entry.group),
        }
        for device in entry.devices
        if device.id in source.answers  # a container can't start with one that is missing
    ]
    requests = {base_request(one) for device in entry.devices for one in device.requests}
    for request in sorted(requests):
        edits = edits_object((), [one for one in (source.metadata.get(request),) if one])
        edits["env"] = _request_env(entry, request, source, is_only=len(requests) == 1)
        devices.append({"name": f"{entry.uid}_{request}", "containerEdits": edits})
    spec = {"cdiVersion": CDI_VERSION, "devices": devices, "kind": _cdi_kind(source.driver)}
    text = msgspec.json.format(msgspec.json.encode(spec), indent=1)
    return b"".join((HEADER, msgspec.json.encode(entry), b"\n", text, b"\n"))


def entry_of_spec(text: bytes) -> ClaimEntry | None:
    """Return the entry in a spec's first line; None if this is not a claim's spec."""
    line = text.partition(b"\n")[0]
    if not line.startswith(HEADER):
        return None
    try:
        entry = msgspec.json.decode(line.removeprefix(HEADER), type=ClaimEntry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return entry if entry.claim.is_valid else None


def _cdi_kind(driver: str) -> str:
    # A vendor of CDI begins with a letter, a driver's name need not.
    return f"k8s.{driver}/claim"


def _device_edits(allocation: DeviceAllocation, group: int | None) -> dict[str, object]:
    nodes = allocation.nodes if group is None else with_group_node(allocation.nodes, group)
    edits = edits_object(nodes, allocation.mounts)
    # A device of a spec needs an edit.
    return edits or {"env": [f"RBLN_DEVICE_{dra_device_name(allocation.id).replace('-', '_')}=1"]}


def _request_env(
    entry: ClaimEntry, request: str, source: SpecSource, *, is_only: bool
) -> list[str]:
    """Return the variables that the device-plugin API gives for the same devices.

    A container may have several requests of a claim, whose variables would replace each other. So
    these have the request in their names, unless there is one request, or one in a container.
    """
    names = env_names(source.pool)
    ids = sorted(
        device.id for device in entry.devices if request in map(base_request, device.requests)
    )
    infos: dict[str, str] = {one: source.answers[one].info for one in ids if one in source.answers}
    values = env_vars(names, [one for one in ids if one in infos], infos)
    suffix = "" if is_only or entry.extended else f"_{request.upper().replace('-', '_')}"
    return [f"{name}{suffix}={value}" for name, value in values.items()]
