"""Readers of values for the tables of keys: texts, booleans, durations, lists and objects."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from rbln_supervisor.core.config.fields import (
    Diagnostics,
    Field,
    Key,
    Reader,
    member_place,
    read_members,
    require_object,
    require_type,
)
from rbln_supervisor.core.config.positions import PlainScalar, json_type, quote_value

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
    value = at.value
    if isinstance(value, PlainScalar) and _DECIMAL.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and 0 <= value <= MAX_SECONDS:
        return value
    match value:
        case float():
            got = f"{value:g}"
        case PlainScalar():
            got = quote_value(value)
        case _:
            got = json_type(value)
    notes.add_error(at.place, f"expected seconds from 0 to {MAX_SECONDS:.0f}, got {got}")
    return None


def one_of(*words: str) -> Reader:
    """Return a reader of one of some words; empty text is the default."""

    def find_error(text: str) -> str | None:
        expected = ", ".join(words)
        return None if text in words else f"expected {expected}, got {quote_value(text)}"

    return checked_string(find_error)


def checked_string(find_error: Callable[[str], str | None]) -> Reader:
    """Return a reader of text with a rule; empty text is the default."""

    def read_checked(at: Field, notes: Diagnostics) -> str | None:
        text = read_string(at, notes)
        wrong = find_error(text) if text else None
        if wrong:
            notes.add_error(at.place, wrong)
        return text if text and not wrong else None

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
            key: read_value(Field(member_place(at.place, key), value), notes)
            for key, value in values.items()
        }

    return read_map


def struct_of(kind: Callable[..., object], keys: Mapping[str, Key]) -> Reader:
    """Return a reader of an object with known keys."""

    def read_struct(at: Field, notes: Diagnostics) -> object:
        values = read_members(at, keys, notes)
        return None if values is None else kind(**values)

    return read_struct


read_strings: Final = list_of(read_string)
