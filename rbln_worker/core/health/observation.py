"""What one source says of a device at one moment."""

from collections.abc import Iterable
from typing import Final

import msgspec

SHOWN_MOST: Final = 40
"""Characters of what a file says that a reason has."""


class Good(msgspec.Struct, frozen=True):
    """Nothing speaks against it."""


class Bad(msgspec.Struct, frozen=True):
    """It can't be used; this is no flicker."""

    source: str
    """As in Verdict.source."""
    reason: str


class Doubt(msgspec.Struct, frozen=True):
    """It can't be used at this moment; believed once it has lasted for a while."""

    source: str
    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """It can't be told: something doesn't answer, or says what nobody understands."""

    source: str
    reason: str


Observation = Good | Bad | Doubt | Unknown

GOOD: Final = Good()
_WORST_FIRST: Final = (Bad, Doubt, Unknown)


def worst(observations: Iterable[Observation]) -> Observation:
    """The one that decides: the first of the worst kind. Of what is unknown, none is bad."""
    seen = tuple(observations)
    for kind in _WORST_FIRST:
        for observation in seen:
            if isinstance(observation, kind):
                return observation
    return GOOD


def shown(text: str) -> str:
    """What a file says, as a part of a reason: short, of one line, and such that it can be sent."""
    short = text.strip()[:SHOWN_MOST]
    return short if short.isprintable() else ascii(short)
