"""Whether the pools that a reload starts came up, so that it stays in force."""

from collections.abc import Iterable
from typing import Final

import msgspec

from rbln_worker.contract.pool import PoolName

WITHIN_S: Final = 10.0
"""How long the first workers of new pools may take to say hello and to report."""


class Birth(msgspec.Struct, frozen=True):
    """How far the first worker of a pool has come."""

    pool: PoolName
    is_up: bool
    """It said hello and has reported, whatever it reported: a kubelet may be absent."""
    has_died: bool = False
    """Or could not be started at all."""
    how: str = ""
    """… and how that came."""
    last_line: str = ""
    """The last that it logged."""


def failures(births: Iterable[Birth], *, is_overdue: bool) -> tuple[str, ...]:
    """A line for each pool that could not start."""
    return tuple(
        _line(birth) for birth in births if birth.has_died or (is_overdue and not birth.is_up)
    )


def _line(birth: Birth) -> str:
    how = birth.how if birth.has_died else f"its worker said nothing within {WITHIN_S:g} s"
    words = f"{birth.pool} could not start: {how or 'its worker ended'}"
    return f"{words}, its last log line: {birth.last_line}" if birth.last_line else words
