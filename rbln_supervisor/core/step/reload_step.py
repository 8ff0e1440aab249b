"""The step of reloads: a configuration that was read becomes active, or is refused with reasons.

Pools that are the same in both configurations are not affected. A pool whose worker can't start is
in back-off, with the reason in the status, and the others are served.
"""

import math
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.control.protocol import ReloadReply
from rbln_supervisor.core.matching import in_use, plan
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from rbln_worker.contract.pod_devices import ResourceHolders
from rbln_worker.contract.pool import PoolName
from rbln_worker.contract.problem import Code, Problem, make_problem

FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 30.0

ReadCause = Literal["request", "change", "retry"]
Content = bytes | tuple[str, ...]
"""Result of reading the file: its bytes, or the errors that prevented it."""


class ReloadState(msgspec.Struct, frozen=True):
    """The configuration file as it was read last, and what became of it."""

    prefix: str
    """Default prefix of resource names."""
    content: Content
    newest: NodeConfig | None = None
    """The configuration of this content, if it is valid."""
    refused: tuple[str, ...] = ()
    """Reasons why the last reload was refused."""
    former_note: str = ""
    """Text for the configuration that is served since a start with an invalid file; empty
    otherwise."""
    wait_s: float = FIRST_RETRY_S
    """Delay after the next refusal that is retried (seconds)."""
    retry_at: float = math.inf
    """Time of the next attempt (monotonic seconds); infinity: none."""
    is_retrying: bool = False
    """True during an automatic retry, without a requester."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Reasons why the last reload was refused, as problems."""
        lines = dict.fromkeys((*self.refused, *filter(None, (self.former_note,))))
        return tuple(make_problem(Code.RELOAD_REFUSED, f"reload refused: {line}") for line in lines)


class FileRead(msgspec.Struct, frozen=True):
    """Event: the file was read."""

    content: Content
    cause: ReadCause


class DiscoveryDone(msgspec.Struct, frozen=True):
    """Event: a discovery for a configuration and for the active one has ended."""

    config: NodeConfig
    force: bool
    """True: activate it even if it removes devices that pods use."""
    result: DiscoveryResult
    node: NodeInventory
    """Its devices, with earlier facts that it could not read."""
    active: NodeConfig
    desired_states: Mapping[PoolName, DesiredState]


class RequestDiscovery(msgspec.Struct, frozen=True):
    """Effect: request a discovery for this configuration."""

    config: NodeConfig


class Activate(msgspec.Struct, frozen=True):
    """Effect: serve a configuration."""

    config: NodeConfig
    reply: ReloadReply
    content: bytes | None
    """Content of the file to save for a restart; None if a newer one waits, or was refused."""


class Refuse(msgspec.Struct, frozen=True):
    """Effect: refuse the reload."""

    errors: tuple[str, ...]
    is_new: bool = True
    """False if an automatic retry has failed for the same reasons."""


ReloadEffect = RequestDiscovery | Activate | Refuse
Result = tuple[ReloadState, ReloadEffect | None]


def step_reload(state: ReloadState, event: FileRead | DiscoveryDone, now: float) -> Result:
    """Return the state after an event, and the effect. ``now``: monotonic seconds."""
    match event:
        case FileRead():
            return _on_read(state, event)
        case DiscoveryDone():
            return _on_discovery(state, event, now)


def refuse_reload(state: ReloadState, errors: tuple[str, ...]) -> tuple[ReloadState, Refuse]:
    """Refuse a reload until the file changes, or the next request."""
    return msgspec.structs.replace(state, refused=errors), Refuse(errors)


def _on_read(state: ReloadState, event: FileRead) -> Result:
    is_changed = event.content != state.content
    if event.cause == "retry" and not is_changed:
        state = msgspec.structs.replace(state, retry_at=math.inf, is_retrying=True)
    elif event.cause == "request" or is_changed:
        state = _without_retry(state)
    else:
        return state, None
    content = event.content
    state = msgspec.structs.replace(state, content=content, newest=None)
    if isinstance(content, tuple):
        return refuse_reload(state, content)
    try:
        newest = node_config.require_valid(node_config.parse(content, prefix=state.prefix))
    except node_config.ConfigError as wrong:
        return refuse_reload(state, wrong.errors)
    return msgspec.structs.replace(state, newest=newest), RequestDiscovery(newest)


def _on_discovery(state: ReloadState, event: DiscoveryDone, now: float) -> Result:
    if event.result.failed is not None:
        return _refuse(state, (event.result.failed,), now, is_retried=state.is_retrying)
    config, active, desired = event.config, event.active, event.desired_states
    listed = {name: tuple(one.devices) for name, one in desired.items()}
    removed = plan.devices_removed(active, listed, config, event.node)
    held = event.result.held or ResourceHolders()
    conflicts = in_use.removal_conflicts(removed, held)
    if conflicts and not event.force:
        errors = (*conflicts, in_use.conflict_advice(held))
        return _refuse(state, errors, now, is_retried=held.unknown is not None)
    served = {name: plan.present_ids(one.devices.values()) for name, one in desired.items()}
    reply = ReloadReply(
        plan.make_plan(active, served, config, event.node),
        warnings=(*config.warnings, *in_use.unchecked_warning(removed, held)),
        forced=conflicts,
    )
    state = _without_retry(state)
    if config is not state.newest:
        return state, Activate(config, reply, None)
    state = msgspec.structs.replace(state, refused=(), former_note="")
    content = state.content if isinstance(state.content, bytes) else None
    return state, Activate(config, reply, content)


def _refuse(state: ReloadState, errors: tuple[str, ...], now: float, *, is_retried: bool) -> Result:
    """Refuse a configuration; ``is_retried``: it may be accepted later, so schedule a retry."""
    if not is_retried:
        return refuse_reload(state, errors)
    is_new = not (state.is_retrying and state.refused == errors)
    after = msgspec.structs.replace(
        state,
        refused=errors,
        wait_s=min(MAX_RETRY_S, 2 * state.wait_s),
        retry_at=now + state.wait_s,
        is_retrying=False,
    )
    return after, Refuse(errors, is_new)


def _without_retry(state: ReloadState) -> ReloadState:
    return msgspec.structs.replace(
        state, wait_s=FIRST_RETRY_S, retry_at=math.inf, is_retrying=False
    )
