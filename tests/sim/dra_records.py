"""Claims, devices and health as a kubelet and a DRA driver exchange them."""

from time import monotonic

import msgspec


class Claim(msgspec.Struct, frozen=True):
    """A claim, as the kubelet names it to a driver."""

    namespace: str
    uid: str
    name: str


class DraDevice(msgspec.Struct, frozen=True):
    """A device of a prepared claim."""

    requests: tuple[str, ...]
    pool: str
    device: str
    cdi: tuple[str, ...]


class DraAnswer(msgspec.Struct, frozen=True):
    """A driver's answer for one claim."""

    devices: tuple[DraDevice, ...] = ()
    error: str = ""


class DraHealth(msgspec.Struct, frozen=True):
    """The health of a device, as its driver reported it last."""

    status: str
    message: str
    received: float
    """Monotonic seconds."""
    timeout_s: float

    def now(self) -> str:
        """The status that a pod shows."""
        return self.status if monotonic() - self.received < self.timeout_s else "UNKNOWN"


class DraRegistered(msgspec.Struct, frozen=True):
    """A plugin was registered, or refused."""

    at: float
    driver: str
    endpoint: str
    error: str = ""
