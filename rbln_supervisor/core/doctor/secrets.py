"""Finds secret values in any text."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

MIN_SECRET_CHARACTERS: Final = 6
"""Minimum length (characters). Shorter values are removed only at their own place: a value such as
``1`` would remove half of every text."""


class Secrets:
    """Some values, with all the forms that they can have in a text.

    A text is read once for all values: 1 MiB of configuration has tens of thousands.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        """``values`` of at least MIN_SECRET_CHARACTERS characters; shorter ones are left out."""
        self.values: Final = frozenset(one for one in values if len(one) >= MIN_SECRET_CHARACTERS)
        begun: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for value in self.values:
            for spelled in (value, *_encoded_forms(value)):
                begun[spelled[:MIN_SECRET_CHARACTERS]][len(spelled)].add(spelled)
        self._begun = {
            beginning: sorted(by_length.items(), reverse=True)
            for beginning, by_length in begun.items()
        }
        """By common beginning: the values by their lengths, the longest first."""

    def find_spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the places of all values, in order; overlapping ones as one."""
        if not self._begun:
            return
        begin = end = 0
        for at in range(len(text) - MIN_SECRET_CHARACTERS + 1):
            for length, spelled in self._begun.get(text[at : at + MIN_SECRET_CHARACTERS], ()):
                if text[at : at + length] in spelled:
                    if at >= end > begin:
                        yield begin, end
                    if at >= end:
                        begin = at
                    end = max(end, at + length)
                    break
        if end > begin:
            yield begin, end


def _encoded_forms(secret: str) -> Iterator[str]:
    """Yield the forms of a text in JSON, in a repr, and in a log line."""
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
