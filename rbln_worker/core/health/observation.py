"""Kinds of evidence: the state of a device according to one source at one time."""

from collections.abc import Iterable
from typing import Final

import msgspec

MAX_SHOWN: Final = 40
"""Maximum number of characters of a file's text in a reason."""


class Good(msgspec.Struct, frozen=True):
    """Evidence that the device works."""


class _Reason(msgspec.Struct, frozen=True):
    source: str
    """The source, as in Verdict.source."""
    reason: str


class Bad(_Reason, frozen=True):
    """Evidence that the device can't be used; it acts at once."""


class Doubt(_Reason, frozen=True):
    """Evidence that the device can't be used now; it acts once it has lasted for a while."""


class Unknown(_Reason, frozen=True):
    """Missing evidence: a file does not answer, or has unknown contents."""


Observation = Good | Bad | Doubt | Unknown

GOOD: Final = Good()
_WORST_FIRST: Final = (Bad, Doubt, Unknown)


def worst_of(observations: Iterable[Observation]) -> Observation:
    """Return the decisive evidence, the first of the worst kind: Bad, Doubt, Unknown, Good."""
    seen = tuple(observations)
    for kind in _WORST_FIRST:
        for observation in seen:
            if isinstance(observation, kind):
                return observation
    return GOOD


def one_line(text: str) -> str:
    """Return a file's text as part of a reason: short, on one line, and encodable."""
    short = text.strip()[:MAX_SHOWN]
    return short if short.isprintable() else ascii(short)
