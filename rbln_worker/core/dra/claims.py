"""The decision on a ResourceClaim: the devices that it gets from this pool, or a refusal."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.errors import RblnError
from rbln_worker.core.dra.claim_entry import (
    ClaimedDevice,
    ClaimEntry,
    ClaimReference,
    base_request,
)
from rbln_worker.core.dra.names import dra_device_name
from rbln_worker.core.dra.resource_claim import (
    EXTENDED_ANNOTATION,
    TEMPLATE_ANNOTATION,
    AllocatedDevice,
    AllocatedDevices,
    OpaqueParameters,
    ResourceClaim,
)

PARAMETERS_GROUP: Final = "resource.rebellions.ai/v1"
PARAMETERS_KIND: Final = "NpuParameters"
MAX_DEVICES: Final = 32
"""Maximum number of devices of a claim (resource/v1, AllocationResultsMaxSize)."""

_LABEL: Final = re.compile(r"[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?", re.ASCII)


class ClaimError(RblnError):
    """A claim can't be prepared, or not be unprepared. Its text is for the events of the pod."""

    def __init__(
        self, text: str, cause: Literal["refused", "api-server", "files"] = "refused"
    ) -> None:
        super().__init__(text)
        self.cause = cause
        """The label in metrics."""


class NpuParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Opaque parameters of a claim, or of a DeviceClass, for our drivers."""

    api_version: str
    kind: str
    rsd_group: bool = True
    """True if the claim's NPUs form a group of their own, where the vendor's tool makes groups."""


class ClaimView(msgspec.Struct, frozen=True):
    """The pool, as far as claims depend on it."""

    driver: str
    node: str
    devices: Collection[DeviceId]
    refusals: Mapping[DeviceId, str]
    """Reasons why devices can't be allocated."""
    admin_refusals: Mapping[DeviceId, str] = {}
    """Reasons that count for adminAccess, too."""


def plan_claim(reference: ClaimReference, claim: ResourceClaim, view: ClaimView) -> ClaimEntry:
    """Return the entry of a claim that the kubelet wants to have prepared, without boot and time.

    Raises ClaimError.
    """
    uid = claim.metadata.uid
    if uid != reference.uid:
        raise ClaimError(
            f"claim {reference.text} has the UID {uid[:64]!r} by now, not {reference.uid!r}: it "
            "was deleted and created again"
        )
    if claim.status.allocation is None:
        raise ClaimError(f"claim {reference.text} is not allocated (any more)")
    if not claim.status.reserved_for:
        raise ClaimError(f"claim {reference.text} is not reserved for any pod (any more)")
    allocated = claim.status.allocation.devices
    devices = _claimed_devices(allocated, view)
    annotations = claim.metadata.annotations
    pod_claim = annotations.get(TEMPLATE_ANNOTATION, "")
    return ClaimEntry(
        *(reference.uid, reference.namespace, reference.name),
        boot="",
        state="started",
        devices=devices,
        pods=tuple(
            f"{reference.namespace}/{one.name}"
            for one in claim.status.reserved_for
            if one.resource == "pods"
        ),
        pod_claim=pod_claim if _LABEL.fullmatch(pod_claim) else "",
        extended=annotations.get(EXTENDED_ANNOTATION) == "true",
        groups_npus=_are_npus_grouped(allocated, view.driver, devices),
    )


def check_conflicts(entry: ClaimEntry, entries: Iterable[ClaimEntry]) -> None:
    """Raise ClaimError if another claim has one of the devices of this one to itself."""
    for other in entries:
        for device in other.own_devices:
            if other.uid != entry.uid and device in entry.own_devices:
                raise ClaimError(f"device {device} is in use by claim {other.claim.text}")


def _claimed_devices(allocated: AllocatedDevices, view: ClaimView) -> tuple[ClaimedDevice, ...]:
    """Return our devices; those of other drivers are not ours to judge."""
    ours = [one for one in allocated.results or () if one.driver == view.driver]
    if not ours:
        raise ClaimError(f"the claim has no device of the driver {view.driver}")
    if len(ours) > MAX_DEVICES:
        raise ClaimError(f"the claim has more than {MAX_DEVICES} devices: {len(ours)}")
    by_name = {dra_device_name(device): device for device in view.devices}
    devices: dict[DeviceId, ClaimedDevice] = {}
    for one in ours:
        device = _check_device(one, by_name.get(one.device), view)
        known = devices.get(device, ClaimedDevice(device, (), admin=True))
        requests = dict.fromkeys((*known.requests, one.request))
        devices[device] = ClaimedDevice(
            device, tuple(requests), admin=known.admin and bool(one.admin_access)
        )
    return tuple(devices[device] for device in sorted(devices))


def _check_device(allocated: AllocatedDevice, device: DeviceId | None, view: ClaimView) -> DeviceId:
    name = f"{allocated.pool[:253]}/{allocated.device[:63]}"
    if not all(map(_LABEL.fullmatch, allocated.request.split("/", 1))):
        raise ClaimError(f"the request {allocated.request[:127]!r} of device {name} is no name")
    if allocated.pool != view.node:
        raise ClaimError(f"device {name} is not of this node, whose pool is {view.node}")
    if device is None:
        raise ClaimError(f"device {name} is not one of the driver {view.driver} on this node")
    refusals = view.admin_refusals if allocated.admin_access else view.refusals
    if why := refusals.get(device):
        raise ClaimError(f"device {device} can't be used: {why}")
    return device


def _are_npus_grouped(
    allocated: AllocatedDevices, driver: str, devices: Collection[ClaimedDevice]
) -> bool:
    """Return False if parameters for our driver and one of our devices want no group."""
    requests = {request for one in devices for request in one.requests}
    requests |= {base_request(request) for request in requests}
    grouped = True
    for opaque in _own_parameters(allocated, driver, requests):
        try:
            parameters = msgspec.json.decode(opaque.parameters, type=NpuParameters)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ClaimError(
                f"the claim's parameters for {driver} are not valid: {error}"
            ) from error
        if (parameters.api_version, parameters.kind) != (PARAMETERS_GROUP, PARAMETERS_KIND):
            raise ClaimError(
                f"the claim's parameters for {driver} have to be {PARAMETERS_KIND} of "
                f"{PARAMETERS_GROUP}, not {parameters.kind[:63]!r} of "
                f"{parameters.api_version[:63]!r}"
            )
        grouped = grouped and parameters.rsd_group
    return grouped


def _own_parameters(
    allocated: AllocatedDevices, driver: str, requests: set[str]
) -> Iterator[OpaqueParameters]:
    for one in allocated.config or ():
        if one.opaque is None or one.opaque.driver != driver:
            continue
        if not one.requests or not requests.isdisjoint(one.requests):
            yield one.opaque
