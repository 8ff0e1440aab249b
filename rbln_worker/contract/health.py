"""Words for the state of a device."""

from enum import StrEnum

import msgspec

from rbln_worker.contract.device import DeviceId


class HealthPhase(StrEnum):
    """Where a device stands; the kubelet hears of Healthy and Unhealthy only."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    """Something speaks against it, for less time than it takes to believe it: still Healthy."""
    UNHEALTHY = "unhealthy"
    PROBATION = "probation"
    """Nothing speaks against it any more, for less time than it takes: still Unhealthy."""
    UNKNOWN = "unknown"
    """It doesn't answer; the last verdict holds for a while."""


class Probation(msgspec.Struct, frozen=True):
    """How long a device that recovers is watched before it is Healthy again."""

    first_s: float = 0.05
    """After its first two falls."""
    again_s: float = 5.0
    """After the third, and twice as long after each further one."""
    most_s: float = 300.0
    calm_s: float = 600.0
    """Healthy for so long, its falls are forgotten."""


class NpuStatuses(msgspec.Struct, frozen=True):
    """What the numbers of an NPU's status mean to a driver and to the next ones."""

    since: tuple[int, int]
    """The first version of the driver, major and minor."""
    words: tuple[str, ...]
    """By number: READY, BUSY, then any of PROBING, INIT, FAULT and FINISH."""


class HealthPolicy(msgspec.Struct, frozen=True):
    """How a pool's devices are judged."""

    link_state: bool = True
    """Network devices are Unhealthy while the link that they depend on is down."""
    suspect_s: float = 0.03
    """How long evidence that may be a flicker has to last."""
    unknown_hold_s: float = 30.0
    """How long the last verdict holds for a device that doesn't answer."""
    probation: Probation = Probation()
    npu_statuses: tuple[NpuStatuses, ...] = ()
    """Of drivers that are newer than those that are known; by version."""


class Verdict(msgspec.Struct, frozen=True):
    """What a worker says of one of its devices."""

    healthy: bool
    reason: str = ""
    """Why it is not healthy, or (healthy) what is suspected; empty where all is well."""
    phase: HealthPhase = HealthPhase.HEALTHY
    source: str = ""
    """Where the evidence comes from: ``sysfs``, ``link``, ``node``, ``npu-status``, ``aer``, …"""
    since: float = 0.0
    """When it came to this phase (seconds since the epoch)."""
    warnings: tuple[str, ...] = ()
    """What is odd about it although it works, such as a PCIe link below its best."""


class Judged(msgspec.Struct, frozen=True):
    """A verdict with its device."""

    id: DeviceId
    verdict: Verdict
