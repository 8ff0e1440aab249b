"""Positions and values of a file in messages, in the terms of people and editors."""

import json
import re
from collections.abc import Sequence
from typing import Final

MAX_LINES: Final = 20
"""Maximum number of lines of one kind; then "and N more": a file often has one error many times."""

MAX_SHOWN: Final = 80
"""Maximum length of a value in a message (characters)."""

_WORD: Final = re.compile(r"[\w.+-]")


class DocumentError(Exception):
    """Error of a file that is no document; one line with the place and what was expected."""


def text_position(text: str, index: int) -> str:
    """Return ``line 3, column 7``, both counted from one."""
    line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
    return f"line {line}, column {column}"


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
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
        case _:
            return "number"


def limit_lines(lines: Sequence[str], most: int = MAX_LINES) -> tuple[str, ...]:
    """Return the first lines, and the number of further ones."""
    if len(lines) <= most:
        return tuple(lines)
    return (*lines[:most], f"and {len(lines) - most} more")
