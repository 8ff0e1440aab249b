"""What one source says of a device at one moment."""

from collections.abc import Iterable
from typing import Final

import msgspec


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
