"""Typed access to the values of a document, with an error for each value of a wrong type."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.config.duplicate_keys import merge
from rbln_supervisor.core.config.positions import kind

_UNKNOWN_MOST: Final = 10
"""Maximum number of unknown keys of one object that are named: the search for the nearest key is
slow."""
_KEY_MOST: Final = 64
_PLAIN_KEY: Final = re.compile(r"[\w$-]{1,64}")


class Complaint(msgspec.Struct, frozen=True):
    """An error that makes a pool unusable."""

    place: str
    """Path, such as ``resourceList[1].selectors[0].vendors``."""
    text: str
    """Expected value and actual value."""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else f"the file: {self.text}"


class Diagnostics:
    """Errors and warnings of a document, collected while it is read."""

    def __init__(self) -> None:
        self.complaints: list[Complaint] = []
        self.warnings: list[str] = []

    def complain(self, place: str, text: str) -> None:
        """Note an error."""
        self.complaints.append(Complaint(place, text))

    def warn(self, place: str, text: str) -> None:
        """Note an irregularity without effect."""
        self.warnings.append(f"{place}: {text}")


class Field(NamedTuple):
    """A value with its place."""

    place: str
    value: object


Hint = Callable[[str], str | None]
"""Takes an unknown, folded key; returns the reason why it is ignored, or None."""


def fields(
    at: Field, known: Iterable[str], notes: Diagnostics, *, hint: Hint = lambda _: None
) -> Mapping[str, Field] | None:
    """Return an object's values by the names of the known keys; None if it is no object.

    Keys match in any case, as in the reference. Unknown ones cause a warning and are left out.
    """
    if not isinstance(at.value, dict):
        expected(at, "object", notes)
        return None
    names = {fold(key): key for key in known}
    spelled: dict[str, str] = {}
    pairs, unknown = [], []
    for key, value in at.value.items():
        if name := names.get(fold(key)):
            spelled.setdefault(name, key)
            pairs.append((name, value))
        else:
            unknown.append(key)
    for key in unknown[:_UNKNOWN_MOST]:
        why = hint(fold(key)) or f"unknown key, ignored{_nearest(key, names)}"
        notes.warn(member(at.place, key), why)
    if len(unknown) > _UNKNOWN_MOST:
        notes.warn(at.place, f"{len(unknown) - _UNKNOWN_MOST} more unknown keys, ignored")
    merged, repeated = merge(pairs)
    for name in repeated:
        notes.warn(member(at.place, name), "repeated in another spelling (the last counts)")
    return {name: Field(member(at.place, spelled[name]), value) for name, value in merged.items()}


def fold(key: str) -> str:
    """Fold a key as Go's simple folding does in ASCII; lower() already handles the Kelvin sign."""
    return key.replace("\N{LATIN SMALL LETTER LONG S}", "s").lower()


def member(place: str, key: str) -> str:
    """Return the place of an object's member."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{place}[{json.dumps(key[:_KEY_MOST])}]"
    return f"{place}.{key}" if place else key


def expected(at: Field, what: str, notes: Diagnostics) -> None:
    """Note an error about a value's type."""
    notes.complain(at.place, f"expected {what}, got {kind(at.value)}")


def string(at: Field | None, notes: Diagnostics) -> str:
    """Return text; empty if it is missing, null or (noted as an error) no text."""
    match at:
        case None | Field(value=None):
            return ""
        case Field(value=str() as text):
            return text
        case wrong:
            expected(wrong, "string", notes)
            return ""


def boolean(at: Field | None, notes: Diagnostics) -> bool:
    """Return a boolean; False if it is missing, null or (noted as an error) neither."""
    match at:
        case None | Field(value=None):
            return False
        case Field(value=bool() as flag):
            return flag
        case wrong:
            expected(wrong, "boolean", notes)
            return False


def strings(at: Field | None, notes: Diagnostics) -> tuple[str, ...]:
    """Return a list of texts; empty if it is missing, null or (noted as an error) no list."""
    match at:
        case None | Field(value=None):
            return ()
        case Field(place=place, value=list() as values):
            return tuple(
                text(Field(f"{place}[{n}]", value), notes) for n, value in enumerate(values)
            )
        case wrong:
            expected(wrong, "array", notes)
            return ()


def text(at: Field, notes: Diagnostics) -> str:
    """Return text; note an error if it is no text, including null."""
    if not isinstance(at.value, str):
        expected(at, "string", notes)
        return ""
    return str(at.value)  # not a subclass of str, which encoders do not know (numbers.Unquoted)


def _nearest(key: str, names: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(fold(key[:_KEY_MOST]), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""
