"""The decision on a ResourceClaim: the devices that it gets from this pool, or a refusal."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Literal

import msgspec

from rbln_worker.contract.device import DeviceId
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

_UID: Final = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?", re.ASCII)
_LABEL: Final = re.compile(r"[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?", re.ASCII)
_NAME: Final = re.compile(r"[0-9a-z](?:[0-9a-z.-]{0,251}[0-9a-z])?", re.ASCII)


class ClaimReference(msgspec.Struct, frozen=True):
    """A claim as the kubelet names it."""

    uid: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """The claim's path at the API server."""
        return f"/apis/resource.k8s.io/v1/namespaces/{self.namespace}/resourceclaims/{self.name}"

    @property
    def text(self) -> str:
        """The claim for logs and messages."""
        return f"{self.namespace}/{self.name}"

    @property
    def is_valid(self) -> bool:
        """True if the parts may be parts of file names and of paths."""
        names = self.namespace, self.name
        return bool(_UID.fullmatch(self.uid)) and all(map(_NAME.fullmatch, names))


class ClaimRefusal(msgspec.Struct, frozen=True):
    """A refusal, with words for the events of the pod."""

    why: str
    cause: Literal["refused", "api-server", "files"] = "refused"
    """The label in metrics."""


class ClaimedDevice(msgspec.Struct, frozen=True):
    """A device of a claim."""

    id: DeviceId
    requests: tuple[str, ...]
    """The requests that it was allocated for, each as ``request`` or ``request/subrequest``."""
    admin: bool = False
    """True for adminAccess: other claims may have the device, too."""


class NpuParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Opaque parameters of a claim, or of a DeviceClass, for our drivers."""

    api_version: str
    kind: str
    rsd_group: bool = True
    """True if the claim's NPUs form a group of their own, where the vendor's tool makes groups."""


class ClaimPlan(msgspec.Struct, frozen=True):
    """The content of a prepared claim."""

    claim: ClaimReference
    devices: tuple[ClaimedDevice, ...]
    """Sorted by ID."""
    pods: tuple[str, ...] = ()
    """The pods that it is reserved for, as ``namespace/name``."""
    pod_claim: str = ""
    """Its name in the pod's spec, if it was made from a template."""
    is_extended: bool = False
    """True if the scheduler made it for extended resources: a container has one request of it."""
    groups_npus: bool = True
    """True if its NPUs form a group of their own."""


class ClaimView(msgspec.Struct, frozen=True):
    """The pool, as far as claims depend on it."""

    driver: str
    node: str
    devices: Collection[DeviceId]
    refusals: Mapping[DeviceId, str]
    """Reasons why devices can't be allocated."""
    admin_refusals: Mapping[DeviceId, str] = {}
    """Reasons that count for adminAccess, too."""


def plan_claim(
    reference: ClaimReference, claim: ResourceClaim, view: ClaimView
) -> ClaimPlan | ClaimRefusal:
    """Decide on a claim that the kubelet wants to have prepared."""
    uid = claim.metadata.uid
    if uid != reference.uid:
        return ClaimRefusal(
            f"claim {reference.text} has the UID {uid[:64]!r} by now, not {reference.uid!r}: it "
            "was deleted and created again"
        )
    if claim.status.allocation is None:
        return ClaimRefusal(f"claim {reference.text} is not allocated (any more)")
    if not claim.status.reserved_for:
        return ClaimRefusal(f"claim {reference.text} is not reserved for any pod (any more)")
    allocated = claim.status.allocation.devices
    devices = _claimed_devices(allocated, view)
    if isinstance(devices, ClaimRefusal):
        return devices
    parameters = _read_parameters(allocated, view.driver, devices)
    if isinstance(parameters, ClaimRefusal):
        return parameters
    annotations = claim.metadata.annotations or {}
    pod_claim = annotations.get(TEMPLATE_ANNOTATION, "")
    return ClaimPlan(
        claim=reference,
        devices=devices,
        pods=tuple(
            f"{reference.namespace}/{one.name}"
            for one in claim.status.reserved_for
            if one.resource == "pods"
        ),
        pod_claim=pod_claim if _LABEL.fullmatch(pod_claim) else "",
        is_extended=annotations.get(EXTENDED_ANNOTATION) == "true",
        groups_npus=all(one.rsd_group for one in parameters),
    )


def find_conflict(
    devices: Collection[ClaimedDevice], holders: Mapping[DeviceId, str]
) -> ClaimRefusal | None:
    """Refuse devices that another claim has; ``holders``: text by device of such claims."""
    for one in devices:
        if not one.admin and one.id in holders:
            return ClaimRefusal(f"device {one.id} is in use by {holders[one.id]}")
    return None


def base_request(request: str) -> str:
    """Return the request of ``request`` or ``request/subrequest``."""
    return request.partition("/")[0]


def _claimed_devices(
    allocated: AllocatedDevices, view: ClaimView
) -> tuple[ClaimedDevice, ...] | ClaimRefusal:
    """Return our devices; those of other drivers are not ours to judge."""
    ours = [one for one in allocated.results or () if one.driver == view.driver]
    if not ours:
        return ClaimRefusal(f"the claim has no device of the driver {view.driver}")
    if len(ours) > MAX_DEVICES:
        return ClaimRefusal(f"the claim has more than {MAX_DEVICES} devices: {len(ours)}")
    by_name = {dra_device_name(device): device for device in view.devices}
    devices: dict[DeviceId, ClaimedDevice] = {}
    for one in ours:
        device = by_name.get(one.device)
        if why := _device_objection(one, device, view):
            return ClaimRefusal(why)
        if device is None:
            continue
        known = devices.get(device, ClaimedDevice(device, (), admin=True))
        requests = dict.fromkeys((*known.requests, one.request))
        devices[device] = ClaimedDevice(
            device, tuple(requests), admin=known.admin and bool(one.admin_access)
        )
    return tuple(devices[device] for device in sorted(devices))


def _device_objection(allocated: AllocatedDevice, device: DeviceId | None, view: ClaimView) -> str:
    name = f"{allocated.pool[:253]}/{allocated.device[:63]}"
    if not all(map(_LABEL.fullmatch, allocated.request.split("/", 1))):
        return f"the request {allocated.request[:127]!r} of device {name} is no name"
    if allocated.pool != view.node:
        return f"device {name} is not of this node, whose pool is {view.node}"
    if device is None:
        return f"device {name} is not one of the driver {view.driver} on this node"
    refusals = view.admin_refusals if allocated.admin_access else view.refusals
    why = refusals.get(device)
    return f"device {device} can't be used: {why}" if why else ""


def _read_parameters(
    allocated: AllocatedDevices, driver: str, devices: Collection[ClaimedDevice]
) -> tuple[NpuParameters, ...] | ClaimRefusal:
    """Return the parameters for our driver that apply to one of our devices."""
    requests = {request for one in devices for request in one.requests}
    requests |= {base_request(request) for request in requests}
    accepted = []
    for opaque in _own_parameters(allocated, driver, requests):
        try:
            parameters = msgspec.json.decode(opaque.parameters, type=NpuParameters)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return ClaimRefusal(f"the claim's parameters for {driver} are not valid: {error}")
        if (parameters.api_version, parameters.kind) != (PARAMETERS_GROUP, PARAMETERS_KIND):
            return ClaimRefusal(
                f"the claim's parameters for {driver} have to be {PARAMETERS_KIND} of "
                f"{PARAMETERS_GROUP}, not {parameters.kind[:63]!r} of "
                f"{parameters.api_version[:63]!r}"
            )
        accepted.append(parameters)
    return tuple(accepted)


def _own_parameters(
    allocated: AllocatedDevices, driver: str, requests: set[str]
) -> Iterator[OpaqueParameters]:
    for one in allocated.config or ():
        if one.opaque is None or one.opaque.driver != driver:
            continue
        if not one.requests or not requests.isdisjoint(one.requests):
            yield one.opaque
