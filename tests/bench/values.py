"""What was measured, as values: a run's figures, and what the run was."""

from typing import Final, Literal, NamedTuple

import msgspec

FORMAT: Final = 1
"""Of the JSON; a report of another one says nothing that could be compared."""

QUANTILES_OF: Final = 40
"""Samples from which on p50 and p99 are said of a figure, and not its range."""

Unit = Literal["s", "KiB", "cores", ""]
"""``cores`` are CPU seconds a second; a bare number is a count."""
Subject = Literal["ours", "other"]


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One figure of one size; all numbers are 0 where nothing could be measured."""

    name: str
    size: str
    unit: Unit
    count: int
    """Of how many samples."""
    median: float = 0.0
    p99: float = 0.0
    least: float = 0.0
    most: float = 0.0
    why: str = ""
    """… there is no sample; "never" where what was waited for did not happen."""
    of: Subject = "ours"


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where figures come from."""

    commit: str
    """As git describes it; ``unknown`` outside of a repository."""
    date: str
    python: str
    cpus: int
    """That the run could use."""
    quick: bool = False
    against: str = ""
    """The other plugin's program; empty where there was none."""


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run."""

    format: int
    made: Made
    figures: tuple[Figure, ...]


class Rounds(NamedTuple):
    """How often things are measured."""

    starts: int
    calls: int
    events: int
    """Of each of two directions."""
    lives: int
    """Of a kubelet, a worker, a supervisor."""
    idle_s: float
    turns: int
    """Of each of two plugins."""


FULL: Final = Rounds(starts=5, calls=1000, events=50, lives=7, idle_s=20.0, turns=3)
QUICK: Final = Rounds(starts=2, calls=100, events=4, lives=2, idle_s=2.0, turns=1)
