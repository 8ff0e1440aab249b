"""Devices of containers, as the kubelet's pod-resources API reports them."""

import msgspec


class ResourceHolder(msgspec.Struct, frozen=True, order=True):
    """A device that a container holds."""

    resource: str
    """The resource name under which it was allocated; of a claim, the name of its DRA driver."""
    device: str
    """Device ID, also of a claim's device if its name is that of a PCI function."""
    namespace: str
    pod: str
    container: str
    claim: str = ""
    """The ResourceClaim by which it holds the device, ``namespace/name``; otherwise empty."""


class ResourceHolders(msgspec.Struct, frozen=True):
    """The kubelet's answer to a request for the devices that containers hold."""

    holdings: tuple[ResourceHolder, ...] = ()
    """Devices of the requested resources, sorted."""
    absent: str | None = None
    """The path of the kubelet's socket, if it does not exist."""
    unknown: str | None = None
    """The reason why there is no answer, although the socket exists."""
