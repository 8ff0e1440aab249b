"""ResourceSlices of resource.k8s.io/v1: those fields that this driver sets or reads."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from rbln_worker.core.kube.api_object import ApiStruct, ObjectMeta, OwnerReference

API_VERSION: Final = "resource.k8s.io/v1"
KIND: Final = "ResourceSlice"
COLLECTION: Final = f"/apis/{API_VERSION}/resourceslices"
"""The path of all ResourceSlices; they have no namespace."""

Effect = Literal["NoSchedule", "NoExecute"]


class DeviceAttribute(ApiStruct, frozen=True):
    """The value of an attribute: exactly one of these is set."""

    string: str | None = None
    version: str | None = None
    """A semantic version (semver.org 2.0.0)."""
    integer: int | None = msgspec.field(default=None, name="int")


class DeviceCapacity(ApiStruct, frozen=True):
    """An amount of something that a device has."""

    value: str
    """A quantity, such as ``16Gi``."""


class DeviceTaint(ApiStruct, frozen=True):
    """A taint: pods do not get the device unless they tolerate it."""

    key: str
    effect: str
    """One of ``Effect``; another program may use another one."""
    value: str = ""
    time_added: str | None = None
    """Set by the API server, and kept."""


class SliceDevice(ApiStruct, frozen=True):
    """A device in a slice."""

    name: str
    attributes: Mapping[str, DeviceAttribute] = {}
    """By name; a name without a domain has the driver's."""
    capacity: Mapping[str, DeviceCapacity] = {}
    taints: tuple[DeviceTaint, ...] = ()


class SlicePool(ApiStruct, frozen=True):
    """The pool that a slice belongs to.

    Consumers read only the slices of the highest generation, and only all of them together.
    """

    name: str
    generation: int
    resource_slice_count: int


class SliceSpec(ApiStruct, frozen=True):
    """The content of a slice; driver, pool name and node name can't be changed."""

    driver: str
    pool: SlicePool
    node_name: str = ""
    devices: tuple[SliceDevice, ...] = ()


class ResourceSlice(ApiStruct, frozen=True):
    """A ResourceSlice."""

    metadata: ObjectMeta
    spec: SliceSpec
    api_version: str = ""
    kind: str = ""


def node_owner(node: str, uid: str) -> OwnerReference:
    """Return the reference to the node as a slice's owner."""
    return OwnerReference("v1", "Node", node, uid, controller=True)
