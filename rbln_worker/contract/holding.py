"""Which container has which device, as the kubelet's book says."""

import msgspec


class Holding(msgspec.Struct, frozen=True, order=True):
    """A device that a container has."""

    resource: str
    """The name it was given out by."""
    device: str
    namespace: str
    pod: str
    container: str


class Held(msgspec.Struct, frozen=True):
    """What the kubelet said when it was asked."""

    holdings: tuple[Holding, ...] = ()
    """Sorted, of the resources that were asked about."""
    absent: str | None = None
    """The socket that is not there, so that nobody could be asked."""
    unknown: str | None = None
    """Why there is no answer, although there is somebody to ask."""
