"""Events of a worker's devices: transitions of their verdicts."""

from collections.abc import Container, Iterator, Mapping

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.events import Event, Kind
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.pool import PoolName


def find_transitions(
    pool: PoolName,
    before: Mapping[DeviceId, Verdict],
    after: Mapping[DeviceId, Verdict],
    last: Mapping[tuple[Kind, str, str], Event],
    present_at_start: Container[DeviceId],
    now: float,
) -> Iterator[Event]:
    """Return the transitions of devices between two sets of verdicts, by device.

    A suspicion and a probation are no transitions: the state for the kubelet has not changed, and
    the transition that follows has the reason. What is recorded already is no transition either:
    a worker continues the record of an earlier one. A device without a record is Healthy.

    Args:
        pool: the worker's pool.
        before: the earlier verdicts.
        after: the later verdicts.
        last: the last event of each subject.
        present_at_start: the devices of the worker's first verdicts.
        now: seconds since the epoch.
    """
    for device in sorted(before.keys() | after.keys()):
        old, new = before.get(device), after.get(device)
        if old == new:
            continue
        if new is None:
            if health_event(old) is not None:
                yield Event(now, "device", "left", pool, device)
            continue
        state, known = health_event(new), last.get(("device", pool, device))
        if state is None or (known is None and state == "Healthy" and device in present_at_start):
            continue
        is_same_state = known is not None and known.what == state
        has_other_reason = (
            new.phase is HealthPhase.UNHEALTHY
            and known is not None
            and (known.source, known.why) != (new.source, new.reason)
        )
        if not is_same_state or has_other_reason:
            # Unknown does not change the state that the kubelet has, nor its time.
            is_older = known is not None and new.since < known.at
            at = now if is_same_state or is_older else new.since or now
            yield Event(at, "device", state, pool, device, new.source, new.reason)


def health_event(verdict: Verdict | None) -> str | None:
    """Return the event of a verdict; None before the first health check.

    ``Unknown``: the kubelet keeps the last state.
    """
    if verdict is None or not verdict.is_checked:
        return None
    if verdict.phase is HealthPhase.UNKNOWN:
        return "Unknown"
    return "Healthy" if verdict.healthy else "Unhealthy"
