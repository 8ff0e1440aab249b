"""The selectors of a pool, as written in the file.

Keys are declared in two places only: here with their type, and by each device type (core/types/) as
those that it has, in the order in which they are matched.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from rbln_supervisor.core.config import pf_ranges
from rbln_supervisor.core.config.fields import (
    Diagnostics,
    Field,
    add_type_error,
    fold_key,
    member_place,
    read_boolean,
    read_fields,
    read_string,
    read_strings,
    require_string,
)
from rbln_supervisor.core.config.positions import quote_value
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_worker.contract.pool import DeviceType

VdpaType = Literal["vhost", "virtio", ""]


class SelectorObject(msgspec.Struct, frozen=True, rename="camel"):
    """Conditions for devices: each list that is not empty has to contain the exact value.

    Attributes are named as in the file, in Python's spelling.
    """

    vendors: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    pci_addresses: tuple[str, ...] = ()
    acpi_indexes: tuple[str, ...] = ()
    aux_types: tuple[str, ...] = ()
    pf_names: tuple[pf_ranges.PfRange, ...] = ()
    root_devices: tuple[pf_ranges.PfRange, ...] = ()
    link_types: tuple[str, ...] = ()
    ddp_profiles: tuple[str, ...] = ()
    p_keys: tuple[str, ...] = ()
    is_rdma: bool = False
    need_vhost_net: bool = False
    vdpa_type: VdpaType = ""


ATTRIBUTES: Final[Mapping[str, str]] = {
    field.encode_name: field.name for field in msgspec.structs.fields(SelectorObject)
}
"""By key of the file: the attribute with its value."""

_ID: Final = re.compile(r"[0-9a-f]{4}")
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
_INTERFACE: Final = re.compile(r"[^\s/:#]{1,15}")
"""dev_valid_name, net/core/dev.c."""
_WHOLE_ADDRESS: Final = "a whole address such as 0000:3b:00.0"


def read_selectors(
    at: Field | None, place: str, device_type: DeviceType | None, notes: Diagnostics
) -> tuple[SelectorObject, ...]:
    """Return the selector objects of a pool, in order; note an error if there are none.

    ``at`` is the pool's ``selectors``, which may be missing, and ``place`` is its place. Without a
    device type (None), every key is allowed.
    """
    match at:
        case None:
            notes.add_error(place, "missing, expected object or array of objects")
            return ()
        case Field(value=[]):
            notes.add_error(at.place, "expected at least one object, got an empty array")
            return ()
        case Field(value=list() as values):
            each = [Field(f"{at.place}[{index}]", value) for index, value in enumerate(values)]
        case Field(value=dict()):
            each = [at]
        case _:
            add_type_error(at, "object or array of objects", notes)
            return ()
    return tuple(_read_object(one, device_type, notes) for one in each)


def is_address(value: str) -> bool:
    """Return True for a full PCI address in the form of sysfs."""
    return _ADDRESS.fullmatch(value) is not None


def _read_object(at: Field, device_type: DeviceType | None, notes: Diagnostics) -> SelectorObject:
    keys = DEVICE_TYPES[device_type].selectors if device_type else tuple(ATTRIBUTES)
    found = read_fields(at, keys, notes, hint=_of_another_type)
    if found is None:
        return SelectorObject()
    values: dict[str, Any] = {
        ATTRIBUTES[key]: _READERS.get(key, read_strings)(field, notes)
        for key, field in found.items()
    }
    for key, field in found.items():
        if key in _SPELLINGS:
            _warn_of_the_impossible(_SPELLINGS[key], field, notes)
    if device_type and "auxTypes" in keys:
        _need_aux_types(found.get("auxTypes"), member_place(at.place, "auxTypes"), notes)
    wanted = SelectorObject(**values)
    if wanted.is_rdma and wanted.vdpa_type:
        at = found["vdpaType"]
        said = "expected no vdpaType beside isRdma in one object (two objects may have one each)"
        notes.add_error(at.place, f"{said}, got {quote_value(wanted.vdpa_type)}")
    return wanted


def _of_another_type(folded: str) -> str | None:
    types = [
        name
        for name, kind in DEVICE_TYPES.items()
        if any(folded == fold_key(key) for key in kind.selectors)
    ]
    return f"a key of {' and '.join(types)} pools, ignored" if types else None


def _vdpa_type(at: Field, notes: Diagnostics) -> VdpaType:
    match read_string(at, notes):
        case "" | "vhost" | "virtio" as word:
            return word
        case other:
            notes.add_error(at.place, f"expected vhost or virtio, got {quote_value(other)}")
            return ""


def _aux_types(at: Field, notes: Diagnostics) -> tuple[str, ...]:
    types = read_strings(at, notes)
    for index, value in enumerate(at.value if isinstance(at.value, list) else ()):
        if isinstance(value, str) and value != "sf":
            notes.add_error(f"{at.place}[{index}]", f"expected sf, got {quote_value(value)}")
    return types


def _need_aux_types(at: Field | None, place: str, notes: Diagnostics) -> None:
    match at:
        case None:
            notes.add_error(place, 'missing, expected ["sf"]')
        case Field(value=None):
            notes.add_error(at.place, 'expected ["sf"], got null')
        case Field(value=[]):
            notes.add_error(at.place, 'expected ["sf"], got an empty array')
        case _:
            pass  # read already, with an error if it is wrong


def _functions_of(example: str) -> "_Reader":
    """Return a reader of a list of PFs with ranges; ``example`` shows the expected form."""

    def read_functions(at: Field, notes: Diagnostics) -> tuple[pf_ranges.PfRange, ...]:
        if not isinstance(at.value, list):
            read_strings(at, notes)  # null, or an error
            return ()
        found = []
        for index, value in enumerate(at.value):
            one = Field(f"{at.place}[{index}]", value)
            written = require_string(one, notes)
            if not isinstance(value, str):
                continue  # noted as an error
            try:
                found.append(pf_ranges.parse(written))
            except pf_ranges.MalformedError as error:
                said = f"expected like {example}, got {quote_value(written)}"
                notes.add_error(one.place, f"{said}: {error}")
        return tuple(found)

    return read_functions


_Reader = Callable[[Field, Diagnostics], object]

_READERS: Final[Mapping[str, _Reader]] = {
    "auxTypes": _aux_types,
    "pfNames": _functions_of("p0#0,2-7,9"),
    "rootDevices": _functions_of("0000:3b:00.0#0,2-7,9"),
    "isRdma": read_boolean,
    "needVhostNet": read_boolean,
    "vdpaType": _vdpa_type,
}
"""Readers of keys; any other key has a list of texts."""


class _Spelling(NamedTuple):
    """The form of a key's values in the kernel."""

    right: re.Pattern[str]
    what: str
    better: Callable[[str], str] = str.lower
    """Corrects a wrong value, as a suggestion."""


def _as_id(value: str) -> str:
    digits = value.strip().lower().removeprefix("0x")
    return digits and digits.rjust(4, "0")


def _as_address(value: str) -> str:
    address = value.strip().lower()
    return address if address.count(":") == 2 else f"0000:{address}"


def _as_root(value: str) -> str:
    address, mark, items = value.partition("#")
    return f"{_as_address(address)}{mark}{items}"


def _as_pkey(value: str) -> str:
    return f"0x{_as_id(value)}"


_NAME: Final = re.compile(r".+", re.DOTALL)
_SPELLINGS: Final[Mapping[str, _Spelling]] = {
    "vendors": _Spelling(_ID, "four hexadecimal digits in lower case", _as_id),
    "devices": _Spelling(_ID, "four hexadecimal digits in lower case", _as_id),
    "drivers": _Spelling(_NAME, "a driver's name"),
    "pciAddresses": _Spelling(_ADDRESS, _WHOLE_ADDRESS, _as_address),
    "acpiIndexes": _Spelling(re.compile(r"[0-9]+"), "a decimal number", str.strip),
    # The part before # is compared in any case; malformed values have an error of their own.
    "pfNames": _Spelling(
        re.compile(rf"{_INTERFACE.pattern}(?:#.*)?|#.*|", re.DOTALL),
        "an interface's name (an address belongs into rootDevices)",
    ),
    "rootDevices": _Spelling(
        re.compile(rf"{_ADDRESS.pattern}(?:#.*)?|#.*|", re.DOTALL | re.IGNORECASE),
        _WHOLE_ADDRESS,
        _as_root,
    ),
    "linkTypes": _Spelling(re.compile(r"[^A-Z\s]+"), "a link type such as ether or infiniband"),
    "ddpProfiles": _Spelling(_NAME, "a profile's name"),
    "pKeys": _Spelling(re.compile(r"0x[0-9a-f]{4}"), "a partition key such as 0x8001", _as_pkey),
}


def _warn_of_the_impossible(spelling: _Spelling, at: Field, notes: Diagnostics) -> None:
    """Warn of values that never match: the comparison is exact, and the kernel has other forms."""
    for index, value in enumerate(at.value if isinstance(at.value, list) else ()):
        if isinstance(value, str) and not spelling.right.fullmatch(value):
            better = spelling.better(value)
            meant = f" (did you mean {better}?)" if spelling.right.fullmatch(better) else ""
            place = f"{at.place}[{index}]"
            notes.add_warning(
                place, f"{quote_value(value)} never matches, expected {spelling.what}{meant}"
            )
