"""Two runs: how many times what it was each figure is."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.bench.values import FORMAT, QUANTILES_OF, Figure, Report


class NotComparable(Exception):
    """A file that is no report to compare with; the text says why in one line."""


class Ratio(NamedTuple):
    """Now divided by then; None where that can't be."""

    median: float | None
    p99: float | None
    """Of figures that have so many samples that p99 says something."""


Key = tuple[str, str]
"""A figure's name and size."""


class _Head(msgspec.Struct, frozen=True):
    """What says whether the rest can be understood."""

    format: int


def load(path: Path) -> Report:
    """An earlier run's report; NotComparable."""
    try:
        raw = path.read_bytes()
        head = msgspec.json.decode(raw, type=_Head)
        if head.format != FORMAT:
            raise NotComparable(
                f"{path}: format {head.format}, and this is {FORMAT}: measure that commit again"
            )
        report = msgspec.json.decode(raw, type=Report)
    except OSError as error:
        raise NotComparable(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotComparable(f"{path} is no report of scripts/bench: {error}") from error
    if report.made.against:
        raise NotComparable(f"{path} is of two plugins (--against), whose start is another one")
    return report


def ratios(now: Iterable[Figure], then: Iterable[Figure]) -> Mapping[Key, Ratio]:
    """Of the figures that both have."""
    former = {_key(one): one for one in then}
    return {
        _key(one): _ratio(one, was)
        for one in now
        if (was := former.get(_key(one))) is not None and one.count and was.count
    }


def _ratio(now: Figure, then: Figure) -> Ratio:
    many = min(now.count, then.count) >= QUANTILES_OF
    return Ratio(_over(now.median, then.median), _over(now.p99, then.p99) if many else None)


def _key(one: Figure) -> Key:
    return one.name, one.size


def _over(now: float, then: float) -> float | None:
    return now / then if then else None
