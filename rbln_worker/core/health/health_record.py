"""The health record of a device: its state, its relevant past, and the verdict."""

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.core.health.observation import Observation

NOT_CHECKED: Final = "not checked yet"


class HealthState(StrEnum):
    """Health state of a device: the phases that users see, and one before them."""

    NEW = "new"
    """The device was not checked yet, or is a newcomer that may not be complete yet."""
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    UNHEALTHY = "unhealthy"
    PROBATION = "probation"
    UNKNOWN = "unknown"


SEEN_HEALTHY: Final = frozenset({HealthState.HEALTHY, HealthState.SUSPECT, HealthState.UNKNOWN})


class Timestamp(NamedTuple):
    """A time on both clocks, in seconds: decisions use the monotonic one, messages the other."""

    at: float
    """Monotonic."""
    epoch: float
    """Since the epoch."""


class HealthRecord(msgspec.Struct, frozen=True):
    """The state of a device, and what of its past is relevant."""

    state: HealthState = HealthState.NEW
    observation: Observation | None = None
    """The evidence for the state."""
    source: str = ""
    reason: str = NOT_CHECKED
    """The reason why it is not Healthy or why it is suspect; on probation: why it failed."""
    since: float = 0.0
    """The time at which it entered this state (seconds since the epoch)."""
    deadline: float | None = None
    """The time of the next evaluation without new evidence (monotonic seconds)."""
    newcomer: bool = False
    """True for a device that was added to a listed pool: it is not listed while it is NEW."""
    became_healthy: Timestamp | None = None
    """The last time that it became Healthy for the kubelet; None: never."""
    last_good_at: float = 0.0
    """The last good evidence of a device that is Healthy for the kubelet (monotonic seconds)."""
    suspicions: tuple[float, ...] = ()
    """The times at which the latest suspicions began (monotonic seconds)."""
    failures: int = 0


def is_listed(record: HealthRecord) -> bool:
    """Return True if the device is in the list for the kubelet."""
    return not (record.newcomer and record.state is HealthState.NEW)


def make_verdict(record: HealthRecord, warnings: tuple[str, ...] = ()) -> Verdict:
    """Return the verdict on the device."""
    reason, state = record.reason, record.state
    if record.state is HealthState.PROBATION:
        reason = f"watched before it is Healthy again; it was: {reason}"
    return Verdict(
        healthy=record.state in SEEN_HEALTHY,
        reason=reason,
        phase=HealthPhase.UNHEALTHY if state is HealthState.NEW else HealthPhase(state),
        source=record.source,
        since=record.since,
        warnings=warnings,
    )
