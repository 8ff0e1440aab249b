"""What a fault is: a plan that says whom it may disturb, before anything is done."""

from collections.abc import Callable
from random import Random

import msgspec

from tests.chaos.touch import Touches
from tests.chaos.world import World


def nothing() -> None:
    """How a fault is undone that nobody has to undo."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One injection, with its victims chosen."""

    what: str
    """With the victim, for people."""
    uses: frozenset[str]
    """What it holds meanwhile; plans that share something are never made together."""
    touches: Touches = {}
    inject: Callable[[], None]
    undo: Callable[[], None] = nothing
    seen: Callable[[], object] | None = None
    """What it leads to, where nothing else is broken; then it is waited for before the undo."""
    seen_s: float = 10.0
    """… for so long."""
    is_sure: bool = True
    """Each change has its time meanwhile; not so where the clock jumps."""
    rest_s: float = 10.0
    """How long the way back to rest may take, back-offs left out."""


Fault = Callable[[World, Random], Plan | None]
"""Makes a plan of a world at rest; None where it can't be had here (no root, say)."""
