"""The keys of an object, declared in a table: name, attribute of the struct, and reader."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from rbln_supervisor.core.config.positions import Members, json_type, merge_pairs

_MAX_UNKNOWN_KEYS: Final = 10
"""Maximum number of unknown keys of one object that are named: the search for the nearest key is
slow."""
_MAX_KEY_CHARACTERS: Final = 64
_PLAIN_KEY: Final = re.compile(r"[\w$-]{1,64}")


T = TypeVar("T")


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

    def item(self, index: int, value: object) -> "Field":
        """Return an item of this array."""
        return Field(f"{self.place}[{index}]", value)


Reader = Callable[[Field, Diagnostics], object]
"""Returns the value of a field; notes an error and returns None if the value is wrong."""


class Key(NamedTuple):
    """A key of an object."""

    attribute: str
    """Attribute of the struct, which also has the default."""
    read: Reader


Hint = Callable[[str], str | None]
"""Takes an unknown key; returns the reason why it is ignored, or None."""


def read_members(
    at: Field, keys: Mapping[str, Key], notes: Diagnostics, *, hint: Hint = lambda _: None
) -> dict[str, Any] | None:
    """Return an object's values by attribute, without those that have their default.

    None if it is no object, which is noted as an error.
    """
    fields = read_fields(at, keys, notes, hint=hint)
    return None if fields is None else read_values(fields, keys, notes)


def read_values(
    fields: Mapping[str, Field], keys: Mapping[str, Key], notes: Diagnostics
) -> dict[str, Any]:
    """Return the values of fields by attribute, without those that are null or have an error."""
    given = {key: fields[name] for name, key in keys.items() if name in fields}
    values = {
        key.attribute: key.read(field, notes)
        for key, field in given.items()
        if field.value is not None
    }
    return {attribute: value for attribute, value in values.items() if value is not None}


def read_fields(
    at: Field, known: Iterable[str], notes: Diagnostics, *, hint: Hint = lambda _: None
) -> Mapping[str, Field] | None:
    """Return an object's fields by the names of the known keys; None if it is no object.

    Keys match in any case, as in the reference. Unknown ones cause a warning and are left out.
    """
    members = require_object(at, notes)
    if members is None:
        return None
    names = {key.casefold(): key for key in known}
    fields: dict[str, Field] = {}
    unknown = []
    for key, value in members.items():
        place, name = member_place(at.place, key), names.get(key.casefold())
        if name is None:
            unknown.append(key)
            continue
        if name in fields:
            notes.add_warning(place, "repeated in another spelling (the last counts)")
            value = merge_pairs(((name, fields[name].value), (name, value)))[name]  # noqa: PLW2901
        fields[name] = Field(place, value)
    for key in unknown[:_MAX_UNKNOWN_KEYS]:
        why = hint(key) or f"unknown key, ignored{_nearest_key(key, names)}"
        notes.add_warning(member_place(at.place, key), why)
    if more := unknown[_MAX_UNKNOWN_KEYS:]:
        notes.add_warning(at.place, f"{len(more)} more unknown keys, ignored")
    return fields


def member_place(place: str, key: str) -> str:
    """Return the place of an object's member."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{place}[{json.dumps(key[:_MAX_KEY_CHARACTERS])}]"
    return f"{place}.{key}" if place else key


def add_type_error(at: Field, what: str, notes: Diagnostics) -> None:
    """Note an error about a value's type."""
    notes.add_error(at.place, f"expected {what}, got {json_type(at.value)}")


def require_type(at: Field, wanted: type[T], what: str, notes: Diagnostics) -> T | None:
    """Return the value; None if it has another type, which is noted as an error."""
    if isinstance(at.value, wanted):
        return at.value
    add_type_error(at, what, notes)
    return None


def require_object(at: Field, notes: Diagnostics) -> dict[str, object] | None:
    """Return the object, with a warning for each repeated key; None if it is none, an error."""
    members = require_type(at, dict, "object", notes)
    for key in members.repeated if isinstance(members, Members) else ():
        notes.add_warning(member_place(at.place, key), "repeated in this object (the last counts)")
    return members


def _nearest_key(key: str, names: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(key[:_MAX_KEY_CHARACTERS].casefold(), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""
