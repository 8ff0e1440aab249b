"""Which devices a pool wants, as its owner wrote it: a type of device is one entry of a table."""

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from rbln_supervisor.core.configuration.places import shown
from rbln_supervisor.core.configuration.shape import (
    Field,
    Notes,
    boolean,
    expected,
    fields,
    fold,
    string,
    strings,
)


class SelectorObject(msgspec.Struct, frozen=True):
    """A device matches if each list that is not empty holds its value, letter by letter."""

    vendors: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    pci_addresses: tuple[str, ...] = ()
    acpi_indexes: tuple[str, ...] = ()


class Rules(msgspec.Struct, frozen=True):
    """What a configuration may say of a type of device."""

    keys: tuple[str, ...]
    """Those of a selector object."""
    served: bool = False
    """Whether this version can serve a pool of it."""


DEVICE_TYPES: Final[Mapping[str, Rules]] = {
    "accelerator": Rules(
        ("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes"), served=True
    ),
    "netDevice": Rules(
        (
            *("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes"),
            *("pfNames", "rootDevices", "linkTypes", "ddpProfiles", "pKeys"),
            *("isRdma", "needVhostNet", "vdpaType"),
        )
    ),
    "auxNetDevice": Rules(
        (
            *("vendors", "devices", "drivers", "acpiIndexes", "auxTypes"),
            *("pfNames", "rootDevices", "linkTypes", "isRdma", "needVhostNet"),
        )
    ),
}
"""By the configuration's word for the type."""

ALL_KEYS: Final = tuple(dict.fromkeys(key for rules in DEVICE_TYPES.values() for key in rules.keys))

_NO_LISTS: Final[Mapping[str, Literal["boolean", "string"]]] = {
    "isRdma": "boolean",
    "needVhostNet": "boolean",
    "vdpaType": "string",
}

_ID: Final = re.compile(r"[0-9a-f]{4}")
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")


def read(
    at: Field | None, place: str, device_type: str, notes: Notes
) -> tuple[SelectorObject, ...]:
    """The selector objects of a pool, in order; complaints where there are none.

    ``at`` is the pool's ``selectors``, which may be missing, and ``place`` where it should be.
    """
    match at:
        case None:
            notes.complain(place, "missing, expected object or array of objects")
            return ()
        case Field(value=[]):
            notes.complain(at.place, "expected at least one object, got an empty array")
            return ()
        case Field(value=list() as values):
            each = [Field(f"{at.place}[{index}]", value) for index, value in enumerate(values)]
        case Field(value=dict()):
            each = [at]
        case _:
            expected(at, "object or array of objects", notes)
            return ()
    return tuple(_object(one, device_type, notes) for one in each)


def is_address(value: str) -> bool:
    """Whether a device can be called so: a PCI address in full, as sysfs spells it."""
    return _ADDRESS.fullmatch(value) is not None


def _object(at: Field, device_type: str, notes: Notes) -> SelectorObject:
    rules = DEVICE_TYPES.get(device_type)
    found = fields(at, rules.keys if rules else ALL_KEYS, notes, hint=_of_another_type)
    lists: dict[str, tuple[str, ...]] = {}
    for key, field in (found or {}).items():
        match _NO_LISTS.get(key):
            case "boolean":
                boolean(field, notes)
            case "string":
                string(field, notes)
            case None:
                lists[key] = strings(field, notes)
                _warn_of_the_impossible(key, field, notes)
    return SelectorObject(
        vendors=lists.get("vendors", ()),
        devices=lists.get("devices", ()),
        drivers=lists.get("drivers", ()),
        pci_addresses=lists.get("pciAddresses", ()),
        acpi_indexes=lists.get("acpiIndexes", ()),
    )


def _of_another_type(folded: str) -> str | None:
    types = [
        name
        for name, rules in DEVICE_TYPES.items()
        if any(folded == fold(key) for key in rules.keys)
    ]
    return f"a key of {' and '.join(types)} pools, ignored" if types else None


def _warn_of_the_impossible(key: str, at: Field, notes: Notes) -> None:
    """Values are compared letter by letter with what sysfs says; some can't be there."""
    match key:
        case "vendors" | "devices":
            right, spelled, what = _ID, _as_id, "four hexadecimal digits in lower case"
        case "pciAddresses":
            right, spelled, what = _ADDRESS, _as_address, "a whole address such as 0000:3b:00.0"
        case _:
            return
    for index, value in enumerate(at.value if isinstance(at.value, list) else ()):
        if isinstance(value, str) and not right.fullmatch(value):
            better = spelled(value)
            meant = f" (did you mean {better}?)" if right.fullmatch(better) else ""
            place = f"{at.place}[{index}]"
            notes.warn(place, f"{shown(value)} never matches, expected {what}{meant}")


def _as_id(value: str) -> str:
    digits = value.strip().lower().removeprefix("0x")
    return digits and digits.rjust(4, "0")


def _as_address(value: str) -> str:
    address = value.strip().lower()
    return address if address.count(":") == 2 else f"0000:{address}"
