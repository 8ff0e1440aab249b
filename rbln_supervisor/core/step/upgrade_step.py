"""The step of an upgrade: the installed program replaces this one only after a check of it."""

from typing import Final

import msgspec

from rbln_supervisor.core.control.protocol import LEAVING, ErrorReply, UpgradeReply
from rbln_supervisor.core.step.discovery_step import SendReply, StopRequested

_BUSY: Final = ErrorReply(("another upgrade is being checked",))
_REFUSED: Final = "the installed program can't be started, this one goes on:"


class UpgradeState(msgspec.Struct, frozen=True):
    """The check of the installed program, at most one at a time."""

    requester: bytes | None = None
    """None: no check runs."""
    is_leaving: bool = False
    is_ready: bool = False
    """True if the process has to become the installed program."""


class UpgradeRequested(msgspec.Struct, frozen=True):
    """Event: a client requests an upgrade."""

    requester: bytes
    is_busy: bool
    """True while the process of an earlier check has not ended."""


class UpgradeCheckEnded(msgspec.Struct, frozen=True):
    """Event: the check has ended, or could not start."""

    errors: tuple[str, ...]
    """Reasons why the installed program can't be started; empty if it can."""


class StartUpgradeCheck(msgspec.Struct, frozen=True):
    """Effect: check the installed program; ``UpgradeCheckEnded`` follows."""


UpgradeEvent = UpgradeRequested | UpgradeCheckEnded | StopRequested
UpgradeEffect = StartUpgradeCheck | SendReply


def step_upgrade(
    state: UpgradeState, event: UpgradeEvent
) -> tuple[UpgradeState, UpgradeEffect | None]:
    """Return the state after an event, and the effect."""
    waiting = state.requester
    match event:
        case StopRequested():
            reply = SendReply(waiting, LEAVING) if waiting is not None else None
            return UpgradeState(is_leaving=True), reply
        case UpgradeRequested(requester=requester) if state.is_leaving:
            return state, SendReply(requester, LEAVING)
        case UpgradeRequested(requester=requester, is_busy=is_busy):
            if is_busy or waiting is not None:
                return state, SendReply(requester, _BUSY)
            return UpgradeState(requester), StartUpgradeCheck()
        case UpgradeCheckEnded() if waiting is None:
            return state, None
        case UpgradeCheckEnded(errors=errors):
            reply = SendReply(
                waiting, ErrorReply((_REFUSED, *errors)) if errors else UpgradeReply()
            )
            return UpgradeState(is_ready=not errors), reply
