"""The fields of a ResourceClaim that are read (resource.k8s.io/v1)."""

import msgspec

from rbln_worker.core.kube.api_object import ObjectMeta

TEMPLATE_ANNOTATION = "resource.kubernetes.io/pod-claim-name"
"""Name of the claim in its pod's spec, for a claim that was made from a template."""
EXTENDED_ANNOTATION = "resource.kubernetes.io/extended-resource-claim"
"""``true`` for a claim that the scheduler made for extended resources of a pod."""


class AllocatedDevice(msgspec.Struct, frozen=True, rename="camel"):
    """A device that the scheduler allocated (DeviceRequestAllocationResult)."""

    request: str
    """``request``, or ``request/subrequest``."""
    driver: str
    pool: str
    device: str
    admin_access: bool | None = None


class OpaqueParameters(msgspec.Struct, frozen=True):
    """Parameters for one driver, which only that driver understands."""

    driver: str
    parameters: msgspec.Raw = msgspec.Raw(b"null")


class AllocatedConfig(msgspec.Struct, frozen=True):
    """Configuration from the claim or its class (DeviceAllocationConfiguration)."""

    requests: tuple[str, ...] | None = None
    """The requests that it applies to; none: all."""
    opaque: OpaqueParameters | None = None


class AllocatedDevices(msgspec.Struct, frozen=True):
    """The allocated devices of a claim (DeviceAllocationResult)."""

    results: tuple[AllocatedDevice, ...] | None = None
    config: tuple[AllocatedConfig, ...] | None = None


class ClaimAllocation(msgspec.Struct, frozen=True):
    """The allocation of a claim (AllocationResult)."""

    devices: AllocatedDevices = AllocatedDevices()


class ClaimConsumer(msgspec.Struct, frozen=True):
    """An object that a claim is reserved for (ResourceClaimConsumerReference)."""

    resource: str
    name: str


class ClaimStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a claim."""

    allocation: ClaimAllocation | None = None
    reserved_for: tuple[ClaimConsumer, ...] | None = None


class ResourceClaim(msgspec.Struct, frozen=True):
    """A ResourceClaim."""

    metadata: ObjectMeta = ObjectMeta()
    status: ClaimStatus = ClaimStatus()
