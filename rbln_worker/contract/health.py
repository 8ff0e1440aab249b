"""Health states and the health policy of devices."""

from enum import StrEnum
from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId

VERDICT_SOURCES: Final = (
    "sysfs",
    "config-space",
    "npu-status",
    "aer",
    "node",
    "link",
    "files",
    "device-info",
    "pods",
    "cdi",
)
"""All sources of evidence (``Verdict.source``)."""


class HealthPhase(StrEnum):
    """Health state of a device; the kubelet gets only Healthy and Unhealthy."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    """There is doubtful evidence, but not for long enough yet: still Healthy."""
    UNHEALTHY = "unhealthy"
    PROBATION = "probation"
    """Good evidence is there again, but not for long enough yet: still Unhealthy."""
    UNKNOWN = "unknown"
    """The device does not answer; the last verdict stays for a limited time."""


class Probation(msgspec.Struct, frozen=True):
    """Durations for which a recovering device is watched before it is Healthy again."""

    first_s: float = 0.05
    """After each of the first two failures."""
    repeat_s: float = 5.0
    """After the third failure; doubled after each further one, up to ``max_s``."""
    max_s: float = 300.0
    reset_after_s: float = 600.0
    """After so long as Healthy, earlier failures are forgotten."""


class NpuStatuses(msgspec.Struct, frozen=True):
    """Meaning of an NPU's status numbers, from one version of its driver on."""

    since: tuple[int, int]
    """The first version of the driver, major and minor."""
    words: tuple[str, ...]
    """Names by number: READY, BUSY, then any of PROBING, INIT, FAULT and FINISH."""


class HealthPolicy(msgspec.Struct, frozen=True):
    """Settings for the health of a pool's devices."""

    link_state: bool = True
    """True if network devices are Unhealthy while the link that they depend on is down."""
    suspect_s: float = 0.03
    """Seconds for which doubtful evidence has to last."""
    unknown_hold_s: float = 30.0
    """Seconds for which a device that does not answer keeps its last verdict."""
    probation: Probation = Probation()
    npu_statuses: tuple[NpuStatuses, ...] = ()
    """Status numbers of drivers that are newer than the known ones, by version."""


class Verdict(msgspec.Struct, frozen=True):
    """A worker's verdict on one of its devices."""

    healthy: bool
    reason: str = ""
    """The reason why it is not healthy, or (if healthy) why it is suspect; empty if all is well."""
    phase: HealthPhase = HealthPhase.HEALTHY
    source: str = ""
    """The source of the evidence: ``sysfs``, ``link``, ``node``, ``npu-status``, ``aer``, …"""
    since: float = 0.0
    """The time at which it entered this phase (seconds since the epoch)."""
    warnings: tuple[str, ...] = ()
    """Problems of a device that works, such as a PCIe link below its maximum."""

    @property
    def is_checked(self) -> bool:
        """False before the first result of a health check: Unhealthy, without a source."""
        return self.healthy or self.source != ""


class Judged(msgspec.Struct, frozen=True):
    """A verdict with the ID of its device."""

    id: DeviceId
    verdict: Verdict
