"""A device's standing: where it is in the machine, what of its past counts, what is said of it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.core.health.observation import Observation

NOT_LOOKED_AT: Final = "not looked at yet"


class State(StrEnum):
    """Where a device stands: the phases that people see, and one before them."""

    NEW = "new"
    """Nothing is known of it, or of a newcomer only that it may not be complete yet."""
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    UNHEALTHY = "unhealthy"
    PROBATION = "probation"
    UNKNOWN = "unknown"


PHASES: Final[Mapping[State, HealthPhase]] = {
    State.NEW: HealthPhase.UNHEALTHY,
    State.HEALTHY: HealthPhase.HEALTHY,
    State.SUSPECT: HealthPhase.SUSPECT,
    State.UNHEALTHY: HealthPhase.UNHEALTHY,
    State.PROBATION: HealthPhase.PROBATION,
    State.UNKNOWN: HealthPhase.UNKNOWN,
}
SHOWN_HEALTHY: Final = frozenset({State.HEALTHY, State.SUSPECT, State.UNKNOWN})


class Moment(NamedTuple):
    """A time on both clocks, in seconds: decisions go by the first, people by the second."""

    at: float
    """Monotonic."""
    epoch: float
    """Since 1970."""


class Record(msgspec.Struct, frozen=True):
    """Where a device stands, and what of its past counts."""

    state: State = State.NEW
    seen: Observation | None = None
    """The evidence that it stands on."""
    source: str = ""
    reason: str = NOT_LOOKED_AT
    """Why it is not Healthy, or what is suspected; of a device on probation: why it fell."""
    since: float = 0.0
    """When it came to this state (seconds since the epoch)."""
    deadline: float | None = None
    """When it has to be asked again without new evidence (monotonic seconds)."""
    newcomer: bool = False
    """Not listed while it is NEW: it came to a pool that was listed already."""
    well: Moment | None = None
    """When it became Healthy for the kubelet, the last time; None: it never was."""
    left: float = 0.0
    """When the evidence was last good of a device that is shown Healthy (monotonic seconds)."""
    suspicions: tuple[float, ...] = ()
    """When the latest ones began (monotonic seconds)."""
    falls: int = 0


def listed(record: Record) -> bool:
    """Whether the kubelet hears of the device."""
    return not (record.newcomer and record.state is State.NEW)


def verdict(record: Record, warnings: tuple[str, ...] = ()) -> Verdict:
    """What is said of the device."""
    reason = record.reason
    if record.state is State.PROBATION:
        reason = f"watched before it is Healthy again; it was: {reason}"
    return Verdict(
        healthy=record.state in SHOWN_HEALTHY,
        reason=reason,
        phase=PHASES[record.state],
        source=record.source,
        since=record.since,
        warnings=warnings,
    )
