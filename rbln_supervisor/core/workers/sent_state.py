"""The state that a worker was sent, and the next message that it lacks.

No message is queued: each is made of the newest state, so one that can't be sent now is
computed again later. Heartbeats name the worker's generation, which shows that a message was lost.
"""

from typing import Final

import msgspec

from rbln_supervisor.core.workers.desired_state import DesiredState, make_snapshot
from rbln_worker.contract import messages
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.messages import CheckDevices, PodsHold, Snapshot, ToWorker
from rbln_worker.contract.pool import PoolName, PoolSpec

STALE_S: Final = 2.0
"""Seconds after a send in which heartbeats may name an older generation; then it was lost."""


class SentToWorker(msgspec.Struct, frozen=True):
    """The state that a worker was sent, and the health checks that it still has to be asked for."""

    generation: int | None = None
    """Generation that the worker has; None if that is not known."""
    sent_at: float = 0.0
    """Time of the last snapshot (monotonic seconds)."""
    pods_hold: PodsHold | None = None
    is_state_requested: bool = False
    """True if an orphan was asked for its state."""
    to_check: frozenset[DeviceId] = frozenset()
    is_full_check_due: bool = False
    repeats_list: bool = False
    """True if the next snapshot has to make the worker send its list again."""


def after_hello(sent: SentToWorker, generation: int | None) -> SentToWorker:
    """Return the state of a new connection; ``generation`` is None if it is of another session."""
    return msgspec.structs.replace(
        sent, generation=generation, pods_hold=None, is_state_requested=False
    )


def after_heartbeat(
    sent: SentToWorker, beat: messages.Heartbeat, session: str, now: float
) -> SentToWorker:
    """Return the state after a heartbeat: a message that did not arrive is due again."""
    is_current = beat.session == session and beat.generation == sent.generation
    is_lost = not is_current and now - sent.sent_at > STALE_S
    return msgspec.structs.replace(
        sent,
        generation=None if is_lost else sent.generation,
        is_state_requested=False,  # it sends heartbeats but no answer: ask again
    )


def next_message(
    sent: SentToWorker, desired: DesiredState | None, pods_hold: PodsHold | None, session: str
) -> ToWorker | None:
    """Return the next message for a worker; None if it has everything.

    The devices of pods come before the pool's first state, so that its first list respects them.
    """
    if desired is None or pods_hold is None:
        return None
    if sent.pods_hold != pods_hold:
        return pods_hold
    if sent.generation != desired.generation:
        return make_snapshot(desired, session, repeats_list=sent.repeats_list)
    if sent.to_check:
        return CheckDevices(tuple(sorted(sent.to_check)))
    return CheckDevices() if sent.is_full_check_due else None


def next_withdrawal(
    sent: SentToWorker, pool: PoolName, desired: DesiredState | None, session: str
) -> Snapshot | None:
    """Return the state without DRA, after which a worker withdraws its slices; None if it has it.

    ``desired`` is None, too, for the worker of a pool that is not configured any more.
    """
    generation = (desired.generation if desired else 0) + 1
    if sent.generation == generation:
        return None
    prefix, _, resource = pool.partition("/")
    spec = desired.pool if desired else PoolSpec(prefix, resource, "accelerator")
    devices = tuple(desired.devices.values()) if desired else ()
    return Snapshot(session, generation, msgspec.structs.replace(spec, dra=None), devices)


def after_send(sent: SentToWorker, message: ToWorker, now: float) -> SentToWorker:
    """Return the state after a message was sent."""
    replace = msgspec.structs.replace
    match message:
        case messages.StateRequest():
            return replace(sent, is_state_requested=True)
        case PodsHold():
            return replace(sent, pods_hold=message)
        case Snapshot():
            return replace(sent, generation=message.generation, sent_at=now, repeats_list=False)
        case CheckDevices(devices=()):
            return replace(sent, is_full_check_due=False)
        case CheckDevices():
            return replace(sent, to_check=frozenset())
