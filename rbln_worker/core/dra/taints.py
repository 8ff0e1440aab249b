"""Taints of devices that are Unhealthy: the scheduler does not give them to pods.

A suspect device has none, and the taint goes when the device has recovered.
"""

import re
from typing import Final

from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import DraExport
from rbln_worker.core.dra.resource_slice import DeviceTaint

REASON: Final = "unhealthy"
"""The part of the key after the driver's name."""
_MAX_VALUE: Final = 63
_NOT_IN_VALUE: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def device_taints(export: DraExport, verdict: Verdict) -> tuple[DeviceTaint, ...]:
    """Return the taints of a device: one if it is Unhealthy, with the source of the evidence.

    A taint's value has the syntax of a label's.
    """
    if verdict.healthy:
        return ()
    effect = "NoExecute" if verdict.source in export.evict_on else "NoSchedule"
    value = _NOT_IN_VALUE.sub("-", verdict.source)[:_MAX_VALUE].strip("_.-")
    return (DeviceTaint(f"{export.driver}/{REASON}", effect, value),)
