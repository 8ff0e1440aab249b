"""Typed access to the values of a document, with an error for each value of a wrong type."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.config.duplicate_keys import merge_pairs
from rbln_supervisor.core.config.positions import json_type

_MAX_UNKNOWN_KEYS: Final = 10
"""Maximum number of unknown keys of one object that are named: the search for the nearest key is
slow."""
_MAX_KEY_CHARACTERS: Final = 64
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

    def add_error(self, place: str, text: str) -> None:
        """Note an error."""
        self.complaints.append(Complaint(place, text))

    def add_warning(self, place: str, text: str) -> None:
        """Note an irregularity without effect."""
        self.warnings.append(f"{place}: {text}")


class Field(NamedTuple):
    """A value with its place."""

    place: str
    value: object


Hint = Callable[[str], str | None]
"""Takes an unknown, folded key; returns the reason why it is ignored, or None."""


def read_fields(
    at: Field, known: Iterable[str], notes: Diagnostics, *, hint: Hint = lambda _: None
) -> Mapping[str, Field] | None:
    """Return an object's values by the names of the known keys; None if it is no object.

    Keys match in any case, as in the reference. Unknown ones cause a warning and are left out.
    """
    if not isinstance(at.value, dict):
        add_type_error(at, "object", notes)
        return None
    names = {fold_key(key): key for key in known}
    spelled: dict[str, str] = {}
    pairs, unknown = [], []
    for key, value in at.value.items():
        if name := names.get(fold_key(key)):
            spelled.setdefault(name, key)
            pairs.append((name, value))
        else:
            unknown.append(key)
    for key in unknown[:_MAX_UNKNOWN_KEYS]:
        why = hint(fold_key(key)) or f"unknown key, ignored{_nearest_key(key, names)}"
        notes.add_warning(member_place(at.place, key), why)
    if len(unknown) > _MAX_UNKNOWN_KEYS:
        notes.add_warning(
            at.place, f"{len(unknown) - _MAX_UNKNOWN_KEYS} more unknown keys, ignored"
        )
    merged, repeated = merge_pairs(pairs)
    for name in repeated:
        notes.add_warning(
            member_place(at.place, name), "repeated in another spelling (the last counts)"
        )
    return {
        name: Field(member_place(at.place, spelled[name]), value) for name, value in merged.items()
    }


def fold_key(key: str) -> str:
    """Fold a key as Go's simple folding does in ASCII; lower() already handles the Kelvin sign."""
    return key.replace("\N{LATIN SMALL LETTER LONG S}", "s").lower()


def member_place(place: str, key: str) -> str:
    """Return the place of an object's member."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{place}[{json.dumps(key[:_MAX_KEY_CHARACTERS])}]"
    return f"{place}.{key}" if place else key


def add_type_error(at: Field, what: str, notes: Diagnostics) -> None:
    """Note an error about a value's type."""
    notes.add_error(at.place, f"expected {what}, got {json_type(at.value)}")


def read_string(at: Field | None, notes: Diagnostics) -> str:
    """Return text; empty if it is missing, null or (noted as an error) no text."""
    match at:
        case None | Field(value=None):
            return ""
        case Field(value=str() as text):
            return text
        case wrong:
            add_type_error(wrong, "string", notes)
            return ""


def read_boolean(at: Field | None, notes: Diagnostics) -> bool:
    """Return a boolean; False if it is missing, null or (noted as an error) neither."""
    match at:
        case None | Field(value=None):
            return False
        case Field(value=bool() as flag):
            return flag
        case wrong:
            add_type_error(wrong, "boolean", notes)
            return False


def read_strings(at: Field | None, notes: Diagnostics) -> tuple[str, ...]:
    """Return a list of texts; empty if it is missing, null or (noted as an error) no list."""
    match at:
        case None | Field(value=None):
            return ()
        case Field(place=place, value=list() as values):
            return tuple(
                require_string(Field(f"{place}[{n}]", value), notes)
                for n, value in enumerate(values)
            )
        case wrong:
            add_type_error(wrong, "array", notes)
            return ()


def require_string(at: Field, notes: Diagnostics) -> str:
    """Return text; note an error if it is no text, including null."""
    if not isinstance(at.value, str):
        add_type_error(at, "string", notes)
        return ""
    return str(at.value)  # not a subclass of str, which encoders do not know (numbers.Unquoted)


def _nearest_key(key: str, names: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(fold_key(key[:_MAX_KEY_CHARACTERS]), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""
