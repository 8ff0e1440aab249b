"""Durations in a configuration: the keys that have one, and the accepted forms."""

import re
from typing import Final

from rbln_supervisor.core.config.fields import Diagnostics, Field, add_type_error, fold_key
from rbln_supervisor.core.config.positions import quote_value

MAX_SECONDS: Final = 86_400.0
"""Maximum duration: a day. There are other keys for "never", where it is possible."""

KEYS: Final = frozenset(
    map(
        fold_key,
        (
            *("suspectSeconds", "unknownHoldSeconds"),
            *("firstSeconds", "repeatSeconds", "maxSeconds", "resetAfterSeconds"),
        ),
    )
)
"""Keys with numbers as values, folded. Other numbers of YAML are read as text."""

_DECIMAL: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{0,15})?", re.ASCII)


class PlainScalar(str):
    """A number in YAML without quotes; with quotes it is text."""

    __slots__ = ()


def read_seconds(at: Field | None, default: float, notes: Diagnostics) -> float:
    """Return a duration; the default if it is missing, null or (noted as an error) invalid."""
    match at:
        case None | Field(value=None):
            return default
        case Field(value=PlainScalar() as text) if _DECIMAL.fullmatch(text):
            return _check_range(at, float(text), default, notes)
        case Field(place=place, value=PlainScalar() as text):
            notes.add_error(place, f"expected a plain decimal number, got {quote_value(text)}")
        case Field(value=bool()):
            add_type_error(at, "number", notes)
        case Field(value=int() | float() as number):
            return _check_range(at, number, default, notes)
        case _:
            add_type_error(at, "number", notes)
    return default


def _check_range(at: Field, number: float, default: float, notes: Diagnostics) -> float:
    if 0 <= number <= MAX_SECONDS:  # before the conversion: an integer may be too long for a float
        return float(number)
    wanted = f"expected a number of seconds from 0 to {MAX_SECONDS:.0f}"
    notes.add_error(at.place, f"{wanted}, got {_format_number(number)}")
    return default


def _format_number(number: float) -> str:
    try:
        return f"{number:g}"
    except OverflowError:
        return "a longer one"
