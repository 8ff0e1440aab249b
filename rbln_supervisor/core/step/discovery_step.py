"""The step of discoveries: requests, times and results become discoveries to start and replies."""

import math
from typing import Final

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.control import queries
from rbln_supervisor.core.control.protocol import (
    LEAVING,
    DryRun,
    DryRunReply,
    ErrorReply,
    Reload,
    Reply,
    Rescan,
    RescanReply,
)
from rbln_supervisor.core.discovery.partial import has_network
from rbln_supervisor.core.discovery.queue import DiscoveryQueue, DiscoveryRequest, DryRunRequest
from rbln_supervisor.core.reporting.metrics import DiscoveryMetrics
from rbln_worker.contract.counters import with_observation
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.inventory import DiscoveryResult

RESCAN_JITTER: Final = 0.1
"""Share of the rescan interval by which it varies, so that nodes do not scan at the same time."""

RETRY_INTERVAL_S: Final = 5.0
"""Seconds until the next discovery after one that failed, because devices may be missing until
then, and after one that read no routes, because a function may be on a default route by now."""

_CROWDED: Final = ErrorReply(("too many requests wait for a discovery; try again later",))


class DiscoveryState(msgspec.Struct, frozen=True):
    """The discoveries that run and wait, and the time of the next one."""

    rescan_s: float
    """Interval of discoveries (seconds)."""
    prefix: str
    """Default prefix of resource names in a dry run."""
    queue: DiscoveryQueue = DiscoveryQueue(rescan=DiscoveryRequest())
    rescan_at: float = math.inf
    """Time of the next discovery without a request (monotonic seconds)."""
    started_at: float = 0.0
    is_leaving: bool = False
    measures: DiscoveryMetrics = DiscoveryMetrics()


class FunctionsChanged(msgspec.Struct, frozen=True):
    """Event: functions had kernel events."""

    only: frozenset[Bdf] | None
    """None: any function may have changed."""
    event_at: float
    """Time of the first kernel event (monotonic seconds)."""


class DiscoveryRequested(msgspec.Struct, frozen=True):
    """Event: a client's request that needs a discovery."""

    request: Rescan | Reload | DryRun
    requester: bytes


class HangupReceived(msgspec.Struct, frozen=True):
    """Event: SIGHUP, a reload without a requester."""


class ConfigRead(msgspec.Struct, frozen=True):
    """Event: the configuration file was read."""

    config: NodeConfig | ErrorReply
    requester: bytes | None = None
    force: bool = False


class DiscoveryEnded(msgspec.Struct, frozen=True):
    """Event: the discovery has ended, or there is none because its process can't be killed."""

    result: DiscoveryResult
    chance: float = 0.5
    """Random number from 0 to 1, for the jitter."""


class ResultApplied(msgspec.Struct, frozen=True):
    """Event: the result of a discovery was applied to the pools."""

    request: DiscoveryRequest
    rescan: RescanReply
    reload: Reply | None
    is_failed: bool


class TimePassed(msgspec.Struct, frozen=True):
    """Event: the loop has nothing else to do."""

    is_busy: bool
    """True if a process runs, or can't be killed."""
    removal_at: float = math.inf
    """Time when the next device that is gone leaves its list (monotonic seconds)."""


class StopRequested(msgspec.Struct, frozen=True):
    """Event: the supervisor ends."""


DiscoveryEvent = (
    FunctionsChanged
    | DiscoveryRequested
    | HangupReceived
    | ConfigRead
    | DiscoveryEnded
    | ResultApplied
    | TimePassed
    | StopRequested
)


class ReadConfig(msgspec.Struct, frozen=True):
    """Effect: read the configuration file; ``ConfigRead`` follows."""

    requester: bytes | None
    force: bool


class StartDiscovery(msgspec.Struct, frozen=True):
    """Effect: start a discovery; ``DiscoveryEnded`` follows."""

    request: DiscoveryRequest | DryRunRequest


class ApplyResult(msgspec.Struct, frozen=True):
    """Effect: apply the result of a discovery to the pools; ``ResultApplied`` follows."""

    request: DiscoveryRequest
    result: DiscoveryResult


class PlanDryRun(msgspec.Struct, frozen=True):
    """Effect: send the reply to a dry run."""

    request: DryRunRequest
    result: DiscoveryResult


class RequestFullCheck(msgspec.Struct, frozen=True):
    """Effect: request health checks of all devices."""


class SendReply(msgspec.Struct, frozen=True):
    """Effect: send a reply to a client."""

    requester: bytes
    reply: Reply


DiscoveryEffect = (
    ReadConfig | StartDiscovery | ApplyResult | PlanDryRun | RequestFullCheck | SendReply
)
Result = tuple[DiscoveryState, tuple[DiscoveryEffect, ...]]


def next_discovery_at(state: DiscoveryState, removal_at: float) -> float:
    """Return when the next discovery starts if none runs (monotonic seconds)."""
    return 0.0 if state.queue.is_discovery_requested else min(state.rescan_at, removal_at)


def step_discovery(  # noqa: PLR0911 - a table of events
    state: DiscoveryState, event: DiscoveryEvent, now: float
) -> Result:
    """Return the state after an event, and the effects. ``now``: monotonic seconds."""
    match event:
        case StopRequested():
            replies = tuple(SendReply(one, LEAVING) for one in state.queue.requesters)
            queue = DiscoveryQueue()
            return msgspec.structs.replace(state, is_leaving=True, queue=queue), replies
        case DiscoveryRequested(request=request, requester=requester):
            return _on_request(state, request, requester)
        case _ if state.is_leaving:  # a result would request workers again
            pass
        case HangupReceived():
            return state, (ReadConfig(None, force=False),)
        case FunctionsChanged(only=only, event_at=event_at):
            return _queued(state, state.queue.request_discovery(None, only=only, event_at=event_at))
        case ConfigRead(config=ErrorReply() as refusal, requester=requester):
            return state, _reply(requester, refusal)
        case ConfigRead(config=NodeConfig() as config, requester=requester, force=force):
            return _queued(state, state.queue.request_reload(config, requester, force=force))
        case DiscoveryEnded():
            return _on_end(state, event, now)
        case ResultApplied():
            return state, _applied_replies(event)
        case TimePassed() if not event.is_busy and now >= next_discovery_at(
            state, event.removal_at
        ):
            return _start_next(state, now)
        case _:
            pass
    return state, ()


def _on_request(
    state: DiscoveryState, request: Rescan | Reload | DryRun, requester: bytes
) -> Result:
    if state.is_leaving:
        return state, _reply(requester, LEAVING)
    if state.queue.is_full:
        return state, _reply(requester, _CROWDED)
    match request:
        case Reload(force=force):
            return state, (ReadConfig(requester, force),)
        case Rescan():
            return _queued(state, state.queue.request_discovery(requester))
        case DryRun():
            wanted = queries.parse_dry_run(request, state.prefix)
            if isinstance(wanted, DryRunReply):
                return state, _reply(requester, wanted)
            return _queued(state, state.queue.request_dry_run(DryRunRequest(wanted, requester)))


def _start_next(state: DiscoveryState, now: float) -> Result:
    queue = state.queue
    if not queue.is_discovery_requested:
        queue = queue.request_discovery(None)
    queue = queue.start_next()
    after = msgspec.structs.replace(state, queue=queue, started_at=now)
    return after, (StartDiscovery(queue.running),) if queue.running else ()


def _on_end(state: DiscoveryState, event: DiscoveryEnded, now: float) -> Result:
    state = msgspec.structs.replace(state, rescan_at=_rescan_at(state, event, now))
    if state.queue.running is not None:
        return _finish(state, event.result, now)
    # The process of the previous discovery can't be killed, so the waiting ones can't start.
    effects: tuple[DiscoveryEffect, ...] = (ApplyResult(DiscoveryRequest(), event.result),)
    while state.queue.is_discovery_requested:
        state = msgspec.structs.replace(state, queue=state.queue.start_next())
        state, more = _finish(state, event.result, now)
        effects += more
    return state, effects


def _finish(state: DiscoveryState, result: DiscoveryResult, now: float) -> Result:
    queue, ended = state.queue.finish_running()
    measures = msgspec.structs.replace(
        state.measures,
        took=with_observation(state.measures.took, now - state.started_at),
        failed=state.measures.failed + (result.failed is not None),
    )
    state = msgspec.structs.replace(state, queue=queue, measures=measures)
    match ended:
        case DryRunRequest() if result.failed is not None:
            return state, (SendReply(ended.requester, ErrorReply((result.failed,))),)
        case DryRunRequest():
            return state, (PlanDryRun(ended, result),)
        case DiscoveryRequest():
            return state, (ApplyResult(ended, result),)
        case None:
            return state, ()


def _rescan_at(state: DiscoveryState, event: DiscoveryEnded, now: float) -> float:
    result, running = event.result, state.queue.running
    if isinstance(running, DryRunRequest):  # its result is not applied
        return state.rescan_at
    if result.discovered is None:
        retry_s = math.inf if result.failed is None else RETRY_INTERVAL_S
        jitter = RESCAN_JITTER * (2 * event.chance - 1)
        return now + min(state.rescan_s, retry_s) * (1 + jitter)
    if has_network(result.node):
        return min(state.rescan_at, now + RETRY_INTERVAL_S)
    return state.rescan_at


def _applied_replies(event: ResultApplied) -> tuple[DiscoveryEffect, ...]:
    request, reload = event.request, event.reload
    replies = () if reload is None else tuple(SendReply(one, reload) for one in request.reloads)
    check = (RequestFullCheck(),) if request.rescans and not event.is_failed else ()
    rescans = (SendReply(one, event.rescan) for one in request.rescans)
    return (*replies, *check, *rescans)  # the reply to a rescan covers health, too


def _queued(state: DiscoveryState, queue: DiscoveryQueue) -> Result:
    return msgspec.structs.replace(state, queue=queue), ()


def _reply(requester: bytes | None, reply: Reply) -> tuple[SendReply, ...]:
    return () if requester is None else (SendReply(requester, reply),)
