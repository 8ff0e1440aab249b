"""The step of one pool: an event changes what is known of its worker, and has effects.

It composes the life cycle (lifecycle.py), the end of a replaced worker (predecessor.py) and what
the worker was sent (sent_state.py).
"""

import msgspec

from rbln_supervisor.core.workers import lifecycle, managed_pool, sent_state, worker_events
from rbln_supervisor.core.workers.desired_state import from_orphan
from rbln_supervisor.core.workers.lifecycle import Act, State
from rbln_supervisor.core.workers.managed_pool import KnownWorker, ManagedPool, RecordEvent
from rbln_supervisor.core.workers.predecessor import Predecessor, Stage, step_predecessor
from rbln_supervisor.core.workers.sent_state import SentToWorker
from rbln_supervisor.core.workers.worker_events import ExportEnded, NotNeeded, OrphanFound
from rbln_worker.contract import messages
from rbln_worker.contract.messages import Hello, StateReport, ToWorker
from rbln_worker.contract.version import VERSION

Result = tuple[ManagedPool, tuple[managed_pool.PoolEffect, ...]]


def step_pool(pool: ManagedPool, event: managed_pool.PoolEvent, now: float) -> Result:
    """Return the pool after an event, and the effects. ``now``: monotonic seconds."""
    match event:
        case OrphanFound(pid=pid, incarnation=incarnation, driver=driver):
            found = msgspec.structs.replace(pool, worker=KnownWorker(pid, incarnation, driver))
            found, effects = _step_child(found, event, now)
            return _end_other_export(found, effects, now)
        case managed_pool.WorkerStarted(pid=pid, incarnation=incarnation):
            worker = KnownWorker(pid, incarnation, pool.driver)
            started = msgspec.structs.replace(pool, worker=worker)
            return started, (RecordEvent("started", f"pid {pid}"),)
        case worker_events.MessageReceived():
            alive, effects = _step_child(pool, event, now)
            after, more = _on_message(alive, event, now)
            return after, (*effects, *more)
        case managed_pool.MessageSent(message=sent):
            return _with_sent(pool, sent_state.after_send(pool.worker.sent, sent, now)), ()
        case worker_events.Exited():
            return _end_worker(pool, event, now)
        case managed_pool.PredecessorExited():
            return _end_predecessor(pool)
        case worker_events.DeadlinePassed():
            return _check_deadlines(pool, now)
        case _:
            return _step_child(pool, event, now)


def due_message(pool: ManagedPool) -> ToWorker | None:
    """Return the message that the pool's worker lacks; None if it has everything."""
    sent = pool.worker.sent
    if pool.worker.address is None:
        return None
    if pool.is_adopting:
        return None if sent.is_state_requested else messages.StateRequest()
    if pool.child.state is State.WITHDRAWING:
        if pool.predecessor is not None:  # it would publish them again
            return None
        return sent_state.next_withdrawal(sent, pool.name, pool.desired, pool.session)
    return sent_state.next_message(sent, pool.desired, pool.pods_hold, pool.session)


def is_from_worker(pool: ManagedPool, frame: worker_events.MessageReceived) -> bool:
    """Return True if a message is from the pool's current worker; only a hello names it."""
    worker, hello = pool.worker, frame.message
    if not isinstance(hello, Hello):
        return worker.address == frame.sender
    claim = (hello.pid, hello.pool, hello.incarnation)
    return worker.incarnation != "" and claim == (worker.pid, pool.name, worker.incarnation)


def _step_child(pool: ManagedPool, event: worker_events.Event, now: float) -> Result:
    """Apply an event of the life cycle."""
    child, acts = lifecycle.step(pool.child, event, now)
    effects: tuple[managed_pool.PoolEffect, ...] = acts
    if child.state is State.KILLED and pool.child.state is not State.KILLED:
        effects = (RecordEvent("hangs", f"pid {pool.worker.pid} is killed"), *acts)
    pool = msgspec.structs.replace(pool, child=child)
    if Act.REPLACE in acts:
        pool = msgspec.structs.replace(
            pool,
            predecessor=Predecessor(),
            predecessor_address=pool.worker.address,
            worker=KnownWorker(),
        )
    if pool.has_ended and isinstance(event, NotNeeded | ExportEnded | worker_events.Exited):
        effects = (*effects, Act.CLEAR_FILES)
    return pool, effects


def _end_other_export(
    pool: ManagedPool, effects: tuple[managed_pool.PoolEffect, ...], now: float
) -> Result:
    """End the worker of an earlier supervisor if the pool's export has changed since then.

    Exports never overlap: the next worker starts when this one has ended.
    """
    if not (pool.is_adopting and pool.has_other_export):
        return pool, effects
    record = RecordEvent("replaced", "the pool is exported in another way")
    pool, ending = _step_child(pool, pool.end_of_export, now)
    if pool.configured:
        pool, _ = _step_child(pool, worker_events.Needed(), now)
    return pool, (*effects, record, *ending)


def _end_worker(pool: ManagedPool, event: worker_events.Exited, now: float) -> Result:
    ended = msgspec.structs.replace(pool, worker=KnownWorker())
    after, effects = _step_child(ended, event, now)
    if event.cause == "not-started":
        record = RecordEvent("not started", event.how)
    else:
        left = pool.child.state in {State.LEAVING, State.WITHDRAWING}
        record = RecordEvent("left" if left else "died", event.how)
    cause = "hang" if pool.child.state is State.KILLED else event.cause
    clean_up = managed_pool.CleanUpAfterWorker(
        event.how,
        pool.worker.report,
        restart_cause=cause if after.child.restarts > pool.child.restarts else "",
    )
    return after, (record, clean_up, *effects)


def _end_predecessor(pool: ManagedPool) -> Result:
    stage = pool.predecessor.stage if pool.predecessor else Stage.LEAVING
    # The kubelet may have got the predecessor's last list after the successor's. A snapshot makes
    # the successor send its list again.
    sent = msgspec.structs.replace(pool.worker.sent, generation=None, repeats_list=True)
    after = msgspec.structs.replace(
        _with_sent(pool, sent), predecessor=None, predecessor_address=None
    )
    # Otherwise it has removed its sockets itself.
    sweep = () if stage is Stage.LEAVING else (Act.SWEEP_SOCKETS,)
    clear = (Act.CLEAR_FILES,) if after.has_ended else ()
    return after, (Act.PROMOTE_SUCCESSOR, *sweep, *clear)


def _check_deadlines(pool: ManagedPool, now: float) -> Result:
    effects: tuple[managed_pool.PoolEffect, ...] = ()
    if pool.child.deadline is not None and now >= pool.child.deadline:
        pool, effects = _step_child(pool, worker_events.DeadlinePassed(), now)
    if pool.predecessor is None:
        return pool, effects
    report, state = pool.worker.report, pool.child.state
    phase = report.phase if report else None
    predecessor, act = step_predecessor(pool.predecessor, state, phase, now)
    if predecessor is not pool.predecessor:
        pool = msgspec.structs.replace(pool, predecessor=predecessor)
    if act is Act.DRAIN_PREDECESSOR and state is State.UP:
        effects = (*effects, Act.PROMOTE_SUCCESSOR)
    return pool, effects if act is None else (*effects, act)


def _on_message(pool: ManagedPool, event: worker_events.MessageReceived, now: float) -> Result:
    replace, message = msgspec.structs.replace, event.message
    worker = pool.worker
    match message:
        case Hello():
            return _on_hello(pool, event.sender, message, now)
        case StateReport():
            return _adopt_orphan(pool, message, now)
        case messages.Report():
            return replace(pool, worker=replace(worker, report=message)), ()
        case messages.Heartbeat():
            sent = sent_state.after_heartbeat(worker.sent, message, pool.session, now)
            return _with_sent(pool, sent), ()
        case _:
            return pool, ()


def _with_sent(pool: ManagedPool, sent: SentToWorker) -> ManagedPool:
    worker = msgspec.structs.replace(pool.worker, sent=sent)
    return msgspec.structs.replace(pool, worker=worker)


def _on_hello(pool: ManagedPool, sender: bytes, hello: Hello, now: float) -> Result:
    generation = hello.generation if hello.session == pool.session else None
    worker = msgspec.structs.replace(
        pool.worker,
        address=sender,
        version=hello.version,
        sent=sent_state.after_hello(pool.worker.sent, generation),
    )
    pool = msgspec.structs.replace(pool, worker=worker)
    if pool.is_adopting and (why := _incompatibility(pool, hello)):
        pool, effects = _step_child(pool, worker_events.Incompatible(), now)
        return pool, (RecordEvent("replaced", why), *effects)
    return pool, (Act.PROMOTE_SUCCESSOR,) if pool.predecessor is None else ()


def _incompatibility(pool: ManagedPool, hello: Hello) -> str:
    """Return the reason why an orphan cannot be adopted; empty if it can."""
    if hello.version != VERSION:
        return f"it is of version {hello.version}, this is {VERSION}"
    if hello.options != pool.options:
        return "it was forked with other options than those of now"
    return ""


def _adopt_orphan(pool: ManagedPool, message: StateReport, now: float) -> Result:
    if not pool.is_adopting or (message.pool and message.pool.name != pool.name):
        return pool, ()
    if message.pool is not None:
        desired = from_orphan(message.pool, message.devices, pool.desired, now=now)
        pool = msgspec.structs.replace(pool, desired=desired)
    pool, effects = _step_child(pool, worker_events.StateReceived(), now)
    return pool, (RecordEvent("adopted", f"pid {pool.worker.pid}"), *effects)
