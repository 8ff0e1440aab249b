"""Functions below a physical one, as written in a configuration: ``p0#0,2-7,9``.

The grammar is ``<PF>[#<item>{,<item>}]`` with ``N`` or ``A-B`` (both ends included) for an item.
Without ``#`` all functions of the PF are meant. Texts that the reference silently treats as "no
match" (``p0#5-3``, ``p0#x``, ``p0#``) are errors here, and so are signs, spaces and digits of other
scripts; a leading zero is allowed (``p0#02``).
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

MAX_NUMBER: Final = 2**32 - 1
"""Maximum index: devlink's sfnum is a u32; VF indexes have 16 bits."""

_ITEM: Final = r"[0-9]{1,10}(?:-[0-9]{1,10})?"
_GRAMMAR: Final = re.compile(rf"([^#]+)(?:#({_ITEM}(?:,{_ITEM})*))?")


class Range(msgspec.Struct, frozen=True):
    """Consecutive indexes."""

    first: int
    last: int
    """Included."""

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class PfRange(msgspec.Struct, frozen=True):
    """Some or all functions of a physical one."""

    pf: str
    """Name of an interface or PCI address, as written."""
    ranges: tuple[Range, ...] | None = None
    """In the order of the text; None: all functions."""

    def __str__(self) -> str:
        if self.ranges is None:
            return self.pf
        return f"{self.pf}#{','.join(map(str, self.ranges))}"


def parse(text: str) -> PfRange:
    """Return the functions that a text describes. Raises ValueError if it is malformed."""
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        raise ValueError(text)
    pf, items = found.groups()
    if items is None:
        return PfRange(pf)
    ends = [[int(number) for number in item.split("-")] for item in items.split(",")]
    ranges = tuple(Range(one[0], one[-1]) for one in ends)
    if not all(one.first <= one.last <= MAX_NUMBER for one in ranges):
        raise ValueError(text)
    return PfRange(pf, ranges)


class FunctionSet:
    """The functions of all entries of a list, compiled for matching."""

    def __init__(self, entries: Iterable[PfRange]) -> None:
        # The reference uses only the first entry with a PF; here all entries count.
        self._ranges: dict[str, list[Range] | None] = {}
        for entry in entries:
            pf = entry.pf.lower()
            known = self._ranges.setdefault(pf, [])
            if entry.ranges is None or known is None:
                self._ranges[pf] = None
            else:
                known += entry.ranges

    def has_function(self, pf: str, index: int | None) -> bool:
        """Return True if an entry includes the function; ``pf`` is empty if it has no PF."""
        ranges = self._ranges.get(pf.lower(), ()) if pf else ()
        if ranges is None:
            return True
        return index is not None and any(one.first <= index <= one.last for one in ranges)
