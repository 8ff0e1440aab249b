"""Readers of values for the tables of keys: texts, booleans, durations, lists and objects."""

import re
from collections.abc import Callable
from typing import Final

from rbln_supervisor.core.config.fields import (
    Diagnostics,
    Field,
    Reader,
    add_type_error,
    entry_place,
    require_object,
    require_type,
)
from rbln_supervisor.core.config.positions import PlainScalar, quote_value

MAX_SECONDS: Final = 86_400.0
"""Maximum duration: a day. There are other keys for "never", where it is possible."""

_DECIMAL: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{0,15})?", re.ASCII)


def read_string(at: Field, notes: Diagnostics) -> str | None:
    """Read text."""
    text = require_type(at, str, "string", notes)
    if isinstance(text, PlainScalar):
        notes.add_warning(at.place, "a number or date is read as text (quote it)")
        return str(text)  # encoders do not know the class
    return text


def read_boolean(at: Field, notes: Diagnostics) -> bool | None:
    """Read a boolean."""
    return require_type(at, bool, "boolean", notes)


def read_seconds(at: Field, notes: Diagnostics) -> float | None:
    """Read a duration in seconds."""
    match at.value:
        case int() | float() as number if not isinstance(number, bool):
            pass
        case PlainScalar() as text if _DECIMAL.fullmatch(text):
            number = float(text)
        case PlainScalar() as text:
            notes.add_error(at.place, f"expected a plain decimal number, got {quote_value(text)}")
            return None
        case _:
            add_type_error(at, "number", notes)
            return None
    if 0 <= number <= MAX_SECONDS:  # before the conversion: an integer may be too long for a float
        return float(number)
    got = "a longer one" if abs(number) > 1e300 else f"{number:g}"
    notes.add_error(
        at.place, f"expected a number of seconds from 0 to {MAX_SECONDS:.0f}, got {got}"
    )
    return None


def one_of(*words: str, what: str = "") -> Reader:
    """Return a reader of one of some words; empty text is the default."""
    *others, last = words
    expected = f"expected {', '.join(others)} or {last}"

    def read_word(at: Field, notes: Diagnostics) -> str | None:
        word = read_string(at, notes)
        if not word or word in words:
            return word or None
        got = quote_value(word)
        notes.add_error(at.place, f"{what} {got}, {expected}" if what else f"{expected}, got {got}")
        return None

    return read_word


def checked_string(find_error: Callable[[str], str | None], *, may_be_empty: bool = True) -> Reader:
    """Return a reader of text with a rule; empty text is the default if it may be empty."""

    def read_checked(at: Field, notes: Diagnostics) -> str | None:
        text = read_string(at, notes)
        if text is None or (not text and may_be_empty):
            return None
        if wrong := find_error(text):
            notes.add_error(at.place, wrong)
        return text or None

    return read_checked


def list_of(read_item: Reader) -> Reader:
    """Return a reader of an array."""

    def read_list(at: Field, notes: Diagnostics) -> tuple[object, ...] | None:
        values = require_type(at, list, "array", notes)
        if values is None:
            return None
        items = (read_item(at.item(index, value), notes) for index, value in enumerate(values))
        return tuple(item for item in items if item is not None)

    return read_list


def map_of(read_value: Reader) -> Reader:
    """Return a reader of an object with any keys."""

    def read_map(at: Field, notes: Diagnostics) -> dict[str, object] | None:
        values = require_object(at, notes)
        if values is None:
            return None
        return {
            key: read_value(Field(entry_place(at.place, key), value), notes)
            for key, value in values.items()
        }

    return read_map


read_strings: Final = list_of(read_string)
