"""The selectors of a pool, as written in the file.

Keys are declared in two places only: here with their type, and by each device type
(core/device_types/) as those that it has, in the order in which they are matched.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from rbln_supervisor.core.config import pf_ranges
from rbln_supervisor.core.config.fields import (
    Diagnostics,
    Field,
    Key,
    Reader,
    add_type_error,
    member_place,
    read_members,
)
from rbln_supervisor.core.config.positions import quote_value
from rbln_supervisor.core.config.readers import list_of, one_of, read_boolean, read_string
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


def read_selectors(
    pool: Field, at: Field | None, device_type: DeviceType, notes: Diagnostics
) -> tuple[SelectorObject, ...]:
    """Return the selector objects of a pool, in order; note an error if there are none."""
    if at is None:
        place = member_place(pool.place, "selectors")
        notes.add_error(place, "missing, expected object or array of objects")
        return ()
    match at.value:
        case []:
            notes.add_error(at.place, "expected at least one object, got an empty array")
        case [*values]:
            each = (at.item(index, value) for index, value in enumerate(values))
            return tuple(_read_object(one, device_type, notes) for one in each)
        case dict():
            return (_read_object(at, device_type, notes),)
        case _:
            add_type_error(at, "object or array of objects", notes)
    return ()


def _read_object(at: Field, device_type: DeviceType, notes: Diagnostics) -> SelectorObject:
    keys = {name: KEYS[name] for name in DEVICE_TYPES[device_type].selectors}
    values = read_members(at, keys, notes, hint=_of_another_type)
    wanted = SelectorObject(**values or {})
    if values is not None and "auxTypes" in keys and not wanted.aux_types:
        notes.add_error(member_place(at.place, "auxTypes"), 'expected ["sf"]')
    if wanted.is_rdma and wanted.vdpa_type:
        said = "expected no vdpaType beside isRdma in one object (two objects may have one each)"
        place = member_place(at.place, "vdpaType")
        notes.add_error(place, f"{said}, got {quote_value(wanted.vdpa_type)}")
    return wanted


def _of_another_type(key: str) -> str | None:
    types = [
        name
        for name, kind in DEVICE_TYPES.items()
        if key.casefold() in map(str.casefold, kind.selectors)
    ]
    return f"a key of {' and '.join(types)} pools, ignored" if types else None


def _check_form(at: Field, value: str, pattern: str, what: str, notes: Diagnostics) -> None:
    """Warn of a value that never matches: the kernel's have the form of the pattern."""
    if not re.fullmatch(pattern, value, re.DOTALL):
        notes.add_warning(at.place, f"{quote_value(value)} never matches, expected {what}")


def _texts(pattern: str, what: str) -> Reader:
    """Return a reader of a list of texts of a form."""

    def read_text(at: Field, notes: Diagnostics) -> str | None:
        value = read_string(at, notes)
        if value is not None:
            _check_form(at, value, pattern, what, notes)
        return value

    return list_of(read_text)


def _functions(pattern: str, what: str, example: str) -> Reader:
    """Return a reader of a list of PFs of a form, with ranges."""

    def read_functions(at: Field, notes: Diagnostics) -> pf_ranges.PfRange | None:
        value = read_string(at, notes)
        if value is None:
            return None
        try:
            found = pf_ranges.parse(value)
        except ValueError:
            notes.add_error(at.place, f"expected like {example}, got {quote_value(value)}")
            return None
        _check_form(at, found.pf, pattern, what, notes)
        return found

    return list_of(read_functions)


_ADDRESS: Final = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]"
_WHOLE_ADDRESS: Final = "a whole address such as 0000:3b:00.0"
_INTERFACE: Final = r"[^\s/:#]{1,15}"
"""dev_valid_name, net/core/dev.c."""
_read_ids: Final = _texts("[0-9a-f]{4}", "four hexadecimal digits in lower case")

KEYS: Final[Mapping[str, Key]] = {
    "vendors": Key("vendors", _read_ids),
    "devices": Key("devices", _read_ids),
    "drivers": Key("drivers", _texts(".+", "a driver's name")),
    "pciAddresses": Key("pci_addresses", _texts(_ADDRESS, _WHOLE_ADDRESS)),
    "acpiIndexes": Key("acpi_indexes", _texts("[0-9]+", "a decimal number")),
    "auxTypes": Key("aux_types", list_of(one_of("sf"))),
    "pfNames": Key("pf_names", _functions(_INTERFACE, "an interface's name", "p0#0,2-7,9")),
    # The address is compared in any case.
    "rootDevices": Key(
        "root_devices", _functions(f"(?i:{_ADDRESS})", _WHOLE_ADDRESS, "0000:3b:00.0#0,2-7,9")
    ),
    "linkTypes": Key("link_types", _texts(r"[^A-Z\s]+", "a link type such as ether")),
    "ddpProfiles": Key("ddp_profiles", _texts(".+", "a profile's name")),
    "pKeys": Key("p_keys", _texts("0x[0-9a-f]{4}", "a partition key such as 0x8001")),
    "isRdma": Key("is_rdma", read_boolean),
    "needVhostNet": Key("need_vhost_net", read_boolean),
    "vdpaType": Key("vdpa_type", one_of("vhost", "virtio")),
}
ATTRIBUTES: Final[Mapping[str, str]] = {name: key.attribute for name, key in KEYS.items()}
"""By key of the file: the attribute with its value."""
