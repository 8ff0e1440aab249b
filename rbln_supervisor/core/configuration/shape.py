"""Values of a document as the types they should have, with a complaint where they have not."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.configuration.places import kind
from rbln_supervisor.core.configuration.repeated import merge

_UNKNOWN_MOST: Final = 10
"""Unknown keys of one object that are named; looking for the nearest key is slow."""
_KEY_MOST: Final = 64
_PLAIN_KEY: Final = re.compile(r"[\w$-]{1,64}")


class Complaint(msgspec.Struct, frozen=True):
    """What makes a pool unusable."""

    place: str
    """As a path, such as ``resourceList[1].selectors[0].vendors``."""
    text: str
    """What was expected, and what is there."""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else f"the file: {self.text}"


class Notes:
    """What there is to say about a document, collected on the way through it."""

    def __init__(self) -> None:
        self.complaints: list[Complaint] = []
        self.warnings: list[str] = []

    def complain(self, place: str, text: str) -> None:
        """Note an error."""
        self.complaints.append(Complaint(place, text))

    def warn(self, place: str, text: str) -> None:
        """Note something odd that hinders nobody."""
        self.warnings.append(f"{place}: {text}")


class Field(NamedTuple):
    """A value with its place."""

    place: str
    value: object


Hint = Callable[[str], str | None]
"""A folded key that is not known → why it is ignored; None where nothing is known of it."""


def fields(
    at: Field, known: Iterable[str], notes: Notes, *, hint: Hint = lambda _: None
) -> Mapping[str, Field] | None:
    """An object's values by the names of the known keys; None where it is no object.

    Keys match as in the reference: whatever their case. Unknown ones are warned of and left out.
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
    """Go's simple folding as far as it reaches ASCII; lower() knows the Kelvin sign already."""
    return key.replace("\N{LATIN SMALL LETTER LONG S}", "s").lower()


def member(place: str, key: str) -> str:
    """The place of an object's member."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{place}[{json.dumps(key[:_KEY_MOST])}]"
    return f"{place}.{key}" if place else key


def expected(at: Field, what: str, notes: Notes) -> None:
    """Complain of a value's type."""
    notes.complain(at.place, f"expected {what}, got {kind(at.value)}")


def string(at: Field | None, notes: Notes) -> str:
    """Text; empty where it is missing, null or (with a complaint) no text."""
    match at:
        case None | Field(value=None):
            return ""
        case Field(value=str() as text):
            return text
        case wrong:
            expected(wrong, "string", notes)
            return ""


def boolean(at: Field | None, notes: Notes) -> bool:
    """True or false; false where it is missing, null or (with a complaint) neither."""
    match at:
        case None | Field(value=None):
            return False
        case Field(value=bool() as flag):
            return flag
        case wrong:
            expected(wrong, "boolean", notes)
            return False


def strings(at: Field | None, notes: Notes) -> tuple[str, ...]:
    """A list of texts; empty where it is missing, null or (with a complaint) no list."""
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


def text(at: Field, notes: Notes) -> str:
    """Text; with a complaint where it is no text, null included."""
    if not isinstance(at.value, str):
        expected(at, "string", notes)
        return ""
    return str(at.value)  # not a kind of text that no encoder knows (numbers.Unquoted)


def _nearest(key: str, names: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(fold(key[:_KEY_MOST]), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""
