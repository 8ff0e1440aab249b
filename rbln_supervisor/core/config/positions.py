"""Values of a file, and their positions in messages, in the terms of people and editors."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rbln_worker.contract.errors import RblnError

MAX_LINES: Final = 20
"""Maximum number of lines of one kind; then "and N more": a file often has one error many times."""

MAX_SHOWN: Final = 80
"""Maximum length of a value in a message (characters)."""

_WORD: Final = re.compile(r"[\w.+-]")


class DocumentError(RblnError):
    """Error of a file that is no document; one line with the place and what was expected."""


class PlainScalar(str):
    """A number or date of YAML without quotes, as written."""

    __slots__ = ()


class Document(NamedTuple):
    """The content of a file."""

    value: object
    """None, bool, int, float, str, list and dict with str keys, as in JSON."""
    warnings: tuple[str, ...] = ()
    """Accepted irregularities, one line each."""


class Members(dict[str, object]):
    """The members of an object."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated: list[str] = []
        """Keys that were repeated in it."""


def merge_pairs(pairs: Iterable[tuple[str, object]]) -> Members:
    """Return an object of its members as written.

    The last value counts, with two exceptions: null keeps the text, number or boolean before it,
    and two additionalInfo objects are merged, in which the later one's keys count.
    """
    merged = Members()
    for key, value in pairs:
        if key in merged:
            merged.repeated.append(key)
            merged[key] = _choose_value(key, merged[key], value)
        else:
            merged[key] = value
    return merged


def _choose_value(key: str, before: object, after: object) -> object:
    match before, after:
        case (str() | bool() | int() | float(), None):
            return before
        case (dict(), dict()) if key.lower() == "additionalinfo":
            return {**before, **after}
        case _:
            return after


def text_position(text: str, index: int) -> str:
    """Return ``line 3, column 7``, both counted from one."""
    line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
    return f"line {line}, column {column}"


def place_lines(text: str, places: Sequence[int], kind: str) -> tuple[str, ...]:
    """Return a line for each of the first places with an irregularity, and the number of others."""
    lines = (f"{text_position(text, index)}: {kind}" for index in places[:MAX_LINES])
    return (*lines, *_more(len(places) - MAX_LINES))


def text_excerpt(text: str, index: int) -> str:
    """Return the text at an index, short and printable.

    A word is not repeated: in a broken file it may be a value of additionalInfo that lost a quote.
    """
    if index >= len(text):
        return "the end of the file"
    if _WORD.match(text, index):
        return "a word"
    character = text[index]
    return f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"


def whole_characters(text: str) -> str:
    """Return a string with U+FFFD for each half of a surrogate pair, as the reference reads it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def quote_value(value: str) -> str:
    """Return a value in quotes, on one line, with limited length."""
    text = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"
    return json.dumps(text, ensure_ascii=not text.isprintable())


def json_type(value: object) -> str:
    """Return a value's type, in the terms of JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str() if not isinstance(value, PlainScalar):
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
        case _:
            return "number"


def limit_lines(lines: Sequence[str], most: int = MAX_LINES) -> tuple[str, ...]:
    """Return the first lines, and the number of further ones."""
    return (*lines[:most], *_more(len(lines) - most))


def _more(count: int) -> tuple[str, ...]:
    return (f"and {count} more",) if count > 0 else ()
