"""Values of a file, and their positions in messages, in the terms of people and editors."""

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rbln_worker.contract.errors import RblnError

MAX_LINES: Final = 20
"""Maximum number of lines of one kind; then "and N more": a file often has one error many times."""

MAX_SHOWN: Final = 80
"""Maximum length of a value in a message (characters)."""


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

    Of a repeated key the last value counts, with two exceptions, as in the reference: null keeps
    the text, number or boolean before it, and two additionalInfo objects are merged.
    """
    merged = Members()
    for key, value in pairs:
        if key in merged:
            merged.repeated.append(key)
        match key.lower(), merged.get(key), value:
            case _, str() | bool() | float(), None:
                pass
            case "additionalinfo", dict() as before, dict():
                merged[key] = {**before, **value}
            case _:
                merged[key] = value
    return merged


def text_position(text: str, index: int) -> str:
    """Return ``line 3, column 7``, both counted from one."""
    line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
    return f"line {line}, column {column}"


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
    more = len(lines) - most
    return (*lines[:most], *([f"and {more} more"] if more > 0 else []))
