"""The devices that pods hold, and the nodes that containers were given for them."""

from enum import StrEnum
from typing import Final

import msgspec

MAX_NAME: Final = 253
"""Maximum length of a name, a UID or a device ID from the kubelet, in characters (RFC 1123)."""


class PodSource(StrEnum):
    """Source of the data about devices that pods hold, best first."""

    PODS_API = "pods-api"
    """The kubelet's Pods API (KEP-4188): a watch."""
    POD_RESOURCES = "pod-resources"
    """The kubelet's pod-resources API (KEP-606): polled."""
    CLAIMS = "claims"
    """The claims that a pool's worker has prepared, of a pool that is exported by DRA."""
    CHECKPOINT = "checkpoint"
    """The kubelet's checkpoint alone: it includes entries of pods that have ended."""
    NONE = "none"
    """No source is available."""


class PodDevice(msgspec.Struct, frozen=True, order=True):
    """A device that a container of a pod holds."""

    resource: str
    """The resource name under which it was allocated.

    Of a claim: the pool's if its DRA driver is configured, otherwise the driver's name.
    """
    device: str
    namespace: str = ""
    """Empty, like ``pod``, if only the pod's UID is known."""
    pod: str = ""
    container: str = ""
    uid: str = ""
    """Empty if the source does not contain it."""
    since: float = 0.0
    """The time at which its pod started or was first seen (seconds since the epoch); 0: unknown."""
    paths: tuple[str, ...] = ()
    """Numbered nodes of the host that the container was given for this device; sorted.

    Empty if it was given none (CDI), or if they are unknown.
    """
    cdi: bool = False
    """True if the container was given names of CDI devices."""
    claim: str = ""
    """The ResourceClaim by which it holds the device, ``namespace/name``; otherwise empty."""

    @property
    def holder(self) -> str:
        """A description of the pod, and of its claim, for messages."""
        return f"{self._pod_text} (claim {self.claim})" if self.claim else self._pod_text

    @property
    def _pod_text(self) -> str:
        if self.pod:
            return f"pod {self.namespace}/{self.pod}"
        return f"pod {self.uid}" if self.uid else "a pod"


class PodDevices(msgspec.Struct, frozen=True):
    """All devices of the node that pods hold, according to the best source."""

    source: PodSource = PodSource.NONE
    devices: tuple[PodDevice, ...] = ()
    """Devices that pods hold, sorted."""
    problems: tuple[str, ...] = ()
    """Gaps in the data, one line each."""


class Pod(msgspec.Struct, frozen=True):
    """A pod as the Pods API describes it."""

    uid: str
    namespace: str
    name: str
    since: float = 0.0
    has_ended: bool = False
    """True if its phase is Succeeded or Failed: none of its containers runs again."""
    devices: tuple[tuple[str, str, str], ...] = ()
    """Container, resource and device ID of each device whose health the pod's status shows."""


class ResourceHolders(msgspec.Struct, frozen=True):
    """The kubelet's answer (pod-resources API) to a request for the devices that containers hold.

    The resource of a claim is the name of its DRA driver. The ID of its device is that of a PCI
    function if the device's name is one.
    """

    holdings: tuple[PodDevice, ...] = ()
    """Devices of the requested resources, sorted."""
    absent: str | None = None
    """The path of the kubelet's socket, if it does not exist."""
    unknown: str | None = None
    """The reason why there is no answer, although the socket exists."""
