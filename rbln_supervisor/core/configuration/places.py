"""Where in a file something is and what stands there, in the words that people and editors use."""

import json
import re
from collections.abc import Sequence
from typing import Final

LINES_MOST: Final = 20
"""Lines of one kind; then "and N more": a wrong file is often wrong in one way many times."""

SHOWN_MOST: Final = 80
"""Characters of a value that a message repeats."""

_WORD: Final = re.compile(r"[\w.+-]")


class DocumentError(Exception):
    """The file is no document; one line that says where and what was expected."""


def place(text: str, index: int) -> str:
    """``line 3, column 7``, both counted from one."""
    line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
    return f"line {line}, column {column}"


def found(text: str, index: int) -> str:
    """What stands at an index, short and printable.

    A word is not repeated: in a broken file it may be a value of additionalInfo that lost a quote.
    """
    if index >= len(text):
        return "the end of the file"
    if _WORD.match(text, index):
        return "a word"
    character = text[index]
    return f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"


def shown(value: str) -> str:
    """A value in quotes, on one line, not too long."""
    text = value if len(value) <= SHOWN_MOST else f"{value[:SHOWN_MOST]}…"
    return json.dumps(text, ensure_ascii=not text.isprintable())


def kind(value: object) -> str:
    """A value's type, in JSON's words."""
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


def bounded(lines: Sequence[str], most: int = LINES_MOST) -> tuple[str, ...]:
    """The first lines, and how many there are beyond them."""
    if len(lines) <= most:
        return tuple(lines)
    return (*lines[:most], f"and {len(lines) - most} more")
