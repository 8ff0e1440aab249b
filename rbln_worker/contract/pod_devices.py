"""The devices that pods hold, and the nodes that they were given for them."""

from enum import StrEnum

import msgspec


class PodSource(StrEnum):
    """Where the knowledge of the devices that pods hold comes from, best first."""

    PODS_API = "pods-api"
    """The kubelet's Pods API (KEP-4188): a watch."""
    POD_RESOURCES = "pod-resources"
    """The kubelet's pod-resources API (KEP-606): polled."""
    CHECKPOINT = "checkpoint"
    """The kubelet's checkpoint alone: entries of pods that have ended are among it."""
    NONE = "none"
    """Nobody can tell."""


class PodDevice(msgspec.Struct, frozen=True, order=True):
    """A device that a container of a pod holds."""

    resource: str
    """The name that it was given out by."""
    device: str
    namespace: str = ""
    """Empty, like ``pod``, where only the pod's UID is known."""
    pod: str = ""
    container: str = ""
    uid: str = ""
    """Empty where the source does not name it."""
    since: float = 0.0
    """When its pod started, or when it was first seen (seconds since the epoch); 0: unknown."""
    paths: tuple[str, ...] = ()
    """Numbered nodes of the host that the container was given for this device; sorted.

    Empty where it was given none (CDI), or where nobody can tell.
    """
    cdi: bool = False
    """The container was given names of CDI devices."""

    @property
    def holder(self) -> str:
        """The pod in words."""
        if self.pod:
            return f"pod {self.namespace}/{self.pod}"
        return f"pod {self.uid}" if self.uid else "a pod"


class PodDevices(msgspec.Struct, frozen=True):
    """All devices of the node that pods hold, as far as the best source can tell."""

    source: PodSource = PodSource.NONE
    devices: tuple[PodDevice, ...] = ()
    """Sorted."""
    problems: tuple[str, ...] = ()
    """What is missing of this knowledge, one line each."""


class Pod(msgspec.Struct, frozen=True):
    """A pod as the Pods API describes it."""

    uid: str
    namespace: str
    name: str
    since: float = 0.0
    has_ended: bool = False
    """Its phase is Succeeded or Failed: no container of it runs again."""
    devices: tuple[tuple[str, str, str], ...] = ()
    """Container, resource and device ID, of each device whose health its status shows."""
