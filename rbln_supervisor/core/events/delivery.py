"""Outcomes of the calls that send Events, and the rate of these calls."""

from enum import StrEnum
from typing import Final

import msgspec

from rbln_supervisor.core.events.series import AgentState, Delivery

BURST: Final = 30.0
"""Events of a node that are sent at once."""
INTERVAL_S: Final = 5.0
"""Seconds from one to the next after that: a fault of a whole cluster is no storm."""


class Outcome(StrEnum):
    """Result of one call."""

    DONE = "done"
    MISSING = "missing"
    """The object of a series has expired: it is made again."""
    RETRY = "retry"
    """Nobody could take it: all wait."""
    LATER = "later"
    """This one was refused, others may not be: it waits behind them."""
    DROP = "drop"
    """It will never be taken."""


def call_outcome(status: int, *, is_patch: bool) -> Outcome:
    """Return the outcome of a call by its HTTP status; 0: the server was not reached.

    409 for a new object: an earlier call was received, but its answer was not. 403 may be missing
    rights, a policy, or a namespace that ends.
    """
    if status // 100 == 2 or (status == 409 and not is_patch):
        return Outcome.DONE
    if status == 404 and is_patch:
        return Outcome.MISSING
    if status == 403:
        return Outcome.LATER
    if status in {400, 404, 405, 413, 422}:
        return Outcome.DROP
    return Outcome.RETRY


def after_call(state: AgentState, sent: Delivery, outcome: Outcome) -> AgentState:
    """Return the state after a call for the first delivery of the outbox."""
    rest = tuple(one for one in state.outbox if one is not sent)
    match outcome:
        case Outcome.DONE:
            return msgspec.structs.replace(state, outbox=rest, sent=state.sent + 1)
        case Outcome.DROP:
            return msgspec.structs.replace(state, outbox=rest, dropped=state.dropped + 1)
        case Outcome.LATER:
            return msgspec.structs.replace(state, outbox=(*rest, sent))
        case Outcome.MISSING | Outcome.RETRY:
            return state
