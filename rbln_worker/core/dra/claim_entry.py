"""A claim of a pool that is exported by DRA, as the checkpoint records it."""

import re
from typing import Final, Literal

import msgspec

from rbln_worker.contract.device import DeviceId

ClaimPhase = Literal["started", "done"]
"""``started``: its RSD group may exist, and nothing else; ``done``: all side effects do."""

_UID: Final = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?", re.ASCII)
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


class ClaimedDevice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device of a claim."""

    id: DeviceId
    """A PCI address, or the name of an auxiliary device."""
    requests: tuple[str, ...]
    """The requests that it was allocated for, each as ``request`` or ``request/subrequest``."""
    admin: bool = False
    """True for adminAccess: other claims may have the device, too."""


class ClaimEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A claim that gets devices of this pool."""

    uid: str
    namespace: str
    name: str
    boot: str
    """The boot id (/proc/sys/kernel/random/boot_id) of the node when it was prepared."""
    state: ClaimPhase
    devices: tuple[ClaimedDevice, ...]
    """Sorted by ID."""
    pods: tuple[str, ...] = ()
    """The pods that it is reserved for, as ``namespace/name``."""
    pod_claim: str = ""
    """Its name in the pod's spec, if it was made from a template."""
    extended: bool = False
    """True if the scheduler made it for extended resources: a container has one request of it."""
    since: float = 0.0
    """The time of its first preparation (seconds since the epoch)."""
    group: int | None = None
    """The RSD group of its NPUs; None: the default group."""
    groups_npus: bool = True
    """True if its NPUs form a group of their own, where the vendor's tool makes groups."""

    @property
    def claim(self) -> ClaimReference:
        """The claim as the kubelet names it."""
        return ClaimReference(self.uid, self.namespace, self.name)

    @property
    def is_admin(self) -> bool:
        """True if all of its devices are for adminAccess."""
        return all(one.admin for one in self.devices)

    @property
    def own_devices(self) -> tuple[DeviceId, ...]:
        """The devices that no other claim may have."""
        return tuple(one.id for one in self.devices if not one.admin)


def base_request(request: str) -> str:
    """Return the request of ``request`` or ``request/subrequest``."""
    return request.partition("/")[0]
