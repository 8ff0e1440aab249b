"""Texts that nobody may see, found wherever they stand."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

SECRET_LEAST: Final = 6
"""Characters. Shorter values are removed where they stand, but not looked for elsewhere: half of
every text would go with a value such as ``1``."""


class Secrets:
    """Some values, and all that they can look like in a text.

    A text is gone over once, however many there are: 1 MiB of configuration has tens of thousands.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Of SECRET_LEAST characters at least; shorter ones are left out."""
        self.values: Final = frozenset(one for one in values if len(one) >= SECRET_LEAST)
        begun: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for value in self.values:
            for spelled in (value, *_spellings(value)):
                begun[spelled[:SECRET_LEAST]][len(spelled)].add(spelled)
        self._begun = {
            beginning: sorted(by_length.items(), reverse=True)
            for beginning, by_length in begun.items()
        }
        """Those that begin alike, by their lengths, the longest first."""

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where any of them stands, in order; those that overlap are one."""
        if not self._begun:
            return
        begin = end = 0
        for at in range(len(text) - SECRET_LEAST + 1):
            for length, spelled in self._begun.get(text[at : at + SECRET_LEAST], ()):
                if text[at : at + length] in spelled:
                    if at >= end > begin:
                        yield begin, end
                    if at >= end:
                        begin = at
                    end = max(end, at + length)
                    break
        if end > begin:
            yield begin, end


def _spellings(secret: str) -> Iterator[str]:
    """How a text may stand in JSON, in a repr, or in a log line."""
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
