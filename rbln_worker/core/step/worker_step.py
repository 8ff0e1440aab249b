"""The step of a worker: from an event and a state to effects."""

from collections import deque
from itertools import islice

import msgspec

from rbln_worker.contract import messages
from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.messages import Hello, Phase, Report
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.core.allocation import cdi
from rbln_worker.core.allocation.given import PreStartChoice, select_given
from rbln_worker.core.health.device_health import without_link
from rbln_worker.core.health.evidence import CheckResult, Depth
from rbln_worker.core.health.health_record import Timestamp
from rbln_worker.core.pool_snapshot import HeldPool, apply_snapshot
from rbln_worker.core.registration import Choice, status_phase
from rbln_worker.core.registration_events import DirsChecked
from rbln_worker.core.registration_reasons import reason_text
from rbln_worker.core.step import effects, events
from rbln_worker.core.step.check_schedule import CheckSchedule
from rbln_worker.core.step.effects import Effect, SendMessage
from rbln_worker.core.step.endpoint_state import EndpointState
from rbln_worker.core.step.events import Event
from rbln_worker.core.step.pool_state import PoolState
from rbln_worker.core.step.spec_state import SpecState


class WorkerState:
    """The whole state of a worker; only ``step`` changes it."""

    def __init__(
        self,
        hello: Hello,
        choice: Choice,
        mode: cdi.Mode = "off",
        pre_start: PreStartChoice = "auto",
        heartbeats: int = 0,
        *,
        driver: str = "",
    ) -> None:
        """Start a state.

        Args:
            hello: the hello, without the state that the worker has.
            choice: the way to register.
            mode: the way to claim devices from the container runtime.
            pre_start: the condition for PreStartContainer.
            heartbeats: the position in the interval of full checks at the start.
            driver: the DRA driver that this worker is; empty: it serves the device-plugin API.
        """
        self.hello = hello
        self.spec = SpecState(mode)
        self.pool = PoolState(self.spec, pre_start)
        self.checks = CheckSchedule(heartbeats)
        self.endpoints = EndpointState(choice, has_streams=not driver)
        self.results: deque[events.CheckCompleted] = deque()
        """Results that are not applied yet: the first one's spec is being written."""
        self.list_problem = ""
        """The problem with the list of host files."""
        self.driver = driver
        self.awaits_slices = bool(driver)
        """True until its first ResourceSlices are published."""
        self.claims: tuple[PreparedClaim, ...] = ()
        self.problems: tuple[Problem, ...] = ()
        """The problems of the last heartbeat."""
        self.ended = False

    @property
    def version(self) -> tuple[str, int]:
        """Session and generation of the desired state; empty and 0 before the first."""
        held = self.pool.held
        return (held.session, held.generation) if held else ("", 0)

    @property
    def deadline(self) -> float | None:
        """The time at which ``TimerDue`` is due (monotonic seconds); None: never."""
        times = (self.checks.next_check, *self.pool.tracker.next_times, self.endpoints.deadline)
        return None if self.ended else min((one for one in times if one is not None), default=None)


def step(state: WorkerState, event: Event, now: Timestamp) -> list[Effect]:
    """Change the state after an event; return the effects, to be carried out in this order."""
    if state.ended:
        return []
    before = state.endpoints.registration
    result = _handle_event(state, event, now)
    if state.endpoints.registration != before:
        result.append(_report(state))
    return result


def _handle_event(  # noqa: C901, PLR0911, PLR0912 - a table of events
    state: WorkerState, event: Event, now: Timestamp
) -> list[Effect]:
    match event:
        case messages.Snapshot():
            return _set_desired(state, event, now)
        case messages.CheckDevices(devices=()) | events.NodesChanged(nodes=None):
            state.checks.request_full_check(now.at)
        case messages.CheckDevices(devices=devices):
            state.checks.request_check(devices, now.at)
        case messages.PodsHold():
            return _take_pods_hold(state, event, now)
        case messages.StateRequest():
            held = state.pool.held
            known = (held.pool, tuple(held.devices.values())) if held else (None, ())
            return [SendMessage(messages.StateReport(*known))]
        case events.LinkConnected():
            session, generation = state.version
            hello = msgspec.structs.replace(state.hello, session=session, generation=generation)
            return [SendMessage(hello), _report(state)]
        case events.HeartbeatDue(problems=problems):
            state.problems = problems
            return [*_on_heartbeat(state, now), _report(state)]
        case events.TimerDue():
            return _on_timer(state, now)
        case events.CheckCompleted() if event.found or event.depth is not Depth.VOLATILE:
            state.results.append(event)
            return _apply_results(state, now)
        case events.SpecWritten(problem=problem):
            state.spec.end_write(f"its CDI spec can't be written: {problem}" if problem else "")
            return [*_apply_next(state, now), *_apply_results(state, now)]
        case events.FilesSettled(problem=problem):
            state.list_problem = problem
            return [_report(state)]
        case events.ClaimsChanged(claims=claims):
            before, state.claims = state.claims, claims
            return [effects.RecordClaims(before, claims), _report(state)]
        case events.SlicesSettled():
            state.awaits_slices = False
            return [_report(state)]
        case events.NodesChanged(nodes=nodes, in_progress=in_progress) if nodes:
            if affected := state.pool.devices_using(nodes) | in_progress:
                state.checks.request_check(affected, now.at)
        case events.KubeletDirsChanged():
            return state.endpoints.check_dirs()
        case DirsChecked():
            return state.endpoints.on_dirs_checked(event, now.at)
        case events.EndpointEvent(number=number, event=change):
            return state.endpoints.on_endpoint_event(number, change, now.at)
        case events.DrainRequested(reason=reason, code=code):
            state.ended = True
            return [effects.End(code, reason)]
        case events.CheckCompleted() | events.NodesChanged():
            pass
    return []


def _report(state: WorkerState) -> Effect:
    """Return the effect that sends the report for the status."""
    held, endpoints = state.pool.held, state.endpoints
    if held is None:
        return SendMessage(Report(Phase.REGISTERING, reason="not told of its devices yet"))
    problems = (
        (
            Code.CDI_UNSUPPORTED,
            cdi.unsupported_reason(held.pool) if state.spec.mode != "off" else None,
        ),
        (Code.CDI_SPEC_NOT_WRITTEN, state.spec.problem),
        (Code.FILE_LIST_NOT_SAVED, state.list_problem),
    )
    report = Report(
        phase=status_phase(endpoints.registration),
        reason=reason_text(endpoints.registration.reason, endpoints.registration.detail),
        registration=endpoints.registration.way or "",
        endpoint=endpoints.name,
        devices=state.pool.all_judged,
        problems=(
            *(make_problem(code, text, held.pool.name) for code, text in problems if text),
            *state.problems,
        ),
        claims=state.claims,
        awaits_slices=state.awaits_slices,
    )
    return SendMessage(report)


def _set_desired(state: WorkerState, message: messages.Snapshot, now: Timestamp) -> list[Effect]:
    after = apply_snapshot(state.pool.held, message)
    driver = after.pool.dra.driver if after.pool.dra else ""
    if driver != state.driver:
        state.ended = True
        way = f"by the DRA driver {driver}" if driver else "by the device-plugin API"
        return [effects.End(Exit.DRAINED, f"the pool is exported {way} now", withdraws=True)]
    state.checks.request_check(state.pool.set_desired(after), now.at)
    result = _reevaluate(state, now)  # evidence from the desired state needs no file: no wait
    return result + (state.endpoints.follow_predecessor(now.at) if message.repeats_list else [])


def _take_pods_hold(state: WorkerState, message: messages.PodsHold, now: Timestamp) -> list[Effect]:
    name, held = state.hello.pool, state.pool.held
    state.pool.take_given(select_given(name, message.devices))
    ours = [one for one in message.devices if one.resource == name]
    is_held, is_claimed = bool(ours) or not message.is_known, any(one.cdi for one in ours)
    if state.spec.take_use(is_held=is_held, is_claimed=is_claimed) and held is not None:
        state.checks.request_check(set(islice(held.devices, 1)), now.at)  # any check settles files
    return _reevaluate(state, now)


def _on_heartbeat(state: WorkerState, now: Timestamp) -> list[Effect]:
    held = state.pool.held
    incomplete = state.pool.incomplete_devices()
    if held is not None and (state.spec.problem or state.list_problem):
        incomplete |= set(islice(held.devices, 1))  # a check of any device writes spec and list
    if incomplete:
        state.checks.request_check(incomplete, now.at)
    beat = SendMessage(messages.Heartbeat(*state.version))
    return [beat, *state.checks.on_heartbeat(held), *state.endpoints.check_dirs()]


def _on_timer(state: WorkerState, now: Timestamp) -> list[Effect]:
    if halfway := state.pool.tracker.take_halfway(now.at):
        state.checks.request_check(halfway, now.at)
    result: list[Effect] = [*state.checks.take_due(state.pool.held, now.at)]
    if state.pool.tracker.overdue_devices(now.at):
        result += _reevaluate(state, now)
    return result + state.endpoints.on_timer(now.at)


def _apply_results(state: WorkerState, now: Timestamp) -> list[Effect]:
    """Apply results in their order; the runtime knows devices before the kubelet does."""
    result: list[Effect] = []
    while state.results and state.spec.write is None:
        held, found = state.pool.held, state.results[0].found
        if held is not None and state.spec.needs_spec(held.pool):
            write = state.spec.begin_write(held.pool, state.pool.answers_with(held, found))
            if write is not None:
                return [*result, write]
        result += _apply_next(state, now)
    return result


def _apply_next(state: WorkerState, now: Timestamp) -> list[Effect]:
    """Apply the first result; without a device whose desired state has changed since."""
    held = state.pool.held
    if held is None or not state.results:
        return []
    completed = state.results.popleft()
    current = _current_results(held, completed)
    result = _apply_change(state, state.pool.apply_results(current, now), now)
    if outdated := completed.repeat | (completed.found.keys() - current.keys()):
        state.checks.request_check(outdated, now.at)
    keep_spec = state.spec.settle_spec(held.pool)
    return [*result, effects.SettleFiles(held.pool, tuple(held.devices), keep_spec)]


def _current_results(
    held: HeldPool, completed: events.CheckCompleted
) -> dict[DeviceId, CheckResult]:
    checked, devices = completed.checked, held.devices
    return {
        device: found
        for device, found in completed.found.items()
        if device in devices
        and without_link(devices[device]) == without_link(checked[device])
        and held.pool == completed.pool
    }


def _reevaluate(state: WorkerState, now: Timestamp) -> list[Effect]:
    return _apply_change(state, state.pool.reevaluate(now), now)


def _apply_change(
    state: WorkerState, answers: effects.PublishAnswers | None, now: Timestamp
) -> list[Effect]:
    if answers is None:
        return []
    registering = state.endpoints.start_registering(now.at)  # only with verdicts
    options = state.endpoints.set_options(now.at, pre_start=answers.pre_start)
    return [answers, *registering, *options, _report(state)]
