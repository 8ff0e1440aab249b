"""Whether a container could use a device: the verdict on what was read of it."""

from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import Verdict
from rbln_worker.core.answer import DeviceAnswer

HEALTHY: Final = Verdict(healthy=True)
UNREAD: Final = Verdict(healthy=False, reason="not looked at yet")


def judge(device: Device, answer: DeviceAnswer, missing: tuple[str, ...]) -> Verdict:
    """The verdict on a device.

    Args:
        device: as the supervisor sees it.
        answer: what a container would get.
        missing: which of the answer's host paths do not exist.
    """
    if device.gone is not None:
        return Verdict(healthy=False, reason=device.gone)
    if answer.faults:
        return Verdict(healthy=False, reason="; ".join(answer.faults))
    if missing:
        verb = "does" if len(missing) == 1 else "do"
        return Verdict(healthy=False, reason=f"{', '.join(missing)} {verb} not exist")
    return HEALTHY


def silent(seconds: float) -> Verdict:
    """The verdict on a device whose files did not answer."""
    return Verdict(healthy=False, reason=f"its files did not answer within {seconds:g} s")
