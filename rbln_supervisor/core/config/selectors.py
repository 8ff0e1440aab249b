"""The selectors of a pool, as written in the file.

Keys are declared in two places only: here with their type, and by each device type (core/types/) as
those that it has, in the order in which they are matched.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from rbln_supervisor.core.config import pf_ranges
from rbln_supervisor.core.config.fields import (
    Diagnostics,
    Field,
    Key,
    Reader,
    add_type_error,
    fold_key,
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


_ID: Final = re.compile(r"[0-9a-f]{4}")
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
_INTERFACE: Final = re.compile(r"[^\s/:#]{1,15}")
"""dev_valid_name, net/core/dev.c."""
_ROOT: Final = re.compile(_ADDRESS.pattern, re.IGNORECASE)
_NAME: Final = re.compile(r".+", re.DOTALL)
_WHOLE_ADDRESS: Final = "a whole address such as 0000:3b:00.0"


def read_selectors(
    pool: Field, at: Field | None, device_type: DeviceType | None, notes: Diagnostics
) -> tuple[SelectorObject, ...]:
    """Return the selector objects of a pool, in order; note an error if there are none.

    Without a device type (None), every key is allowed.
    """
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


def is_address(value: str) -> bool:
    """Return True for a full PCI address in the form of sysfs."""
    return _ADDRESS.fullmatch(value) is not None


def _read_object(at: Field, device_type: DeviceType | None, notes: Diagnostics) -> SelectorObject:
    names = DEVICE_TYPES[device_type].selectors if device_type else KEYS.keys() - {"auxTypes"}
    keys = {name: key for name, key in KEYS.items() if name in names}
    wanted = SelectorObject(**read_members(at, keys, notes, hint=_of_another_type) or {})
    if wanted.is_rdma and wanted.vdpa_type:
        said = "expected no vdpaType beside isRdma in one object (two objects may have one each)"
        place = member_place(at.place, "vdpaType")
        notes.add_error(place, f"{said}, got {quote_value(wanted.vdpa_type)}")
    return wanted


def _of_another_type(folded: str) -> str | None:
    types = [
        name
        for name, kind in DEVICE_TYPES.items()
        if any(folded == fold_key(key) for key in kind.selectors)
    ]
    return f"a key of {' and '.join(types)} pools, ignored" if types else None


def _read_aux_types(at: Field, notes: Diagnostics) -> object:
    if at.value is None or at.value == []:
        got = "null" if at.value is None else "an empty array"
        notes.add_error(at.place, f'expected ["sf"], got {got}')
        return None
    return list_of(_read_aux_type)(at, notes)


def _read_aux_type(at: Field, notes: Diagnostics) -> str | None:
    value = read_string(at, notes)
    if value not in {None, "sf"}:
        notes.add_error(at.place, f"expected sf, got {quote_value(str(value))}")
    return value


class _Form(NamedTuple):
    """The form of values in the kernel, with which they are compared exactly."""

    right: re.Pattern[str]
    what: str
    correct: Callable[[str], str] = str.lower
    """Corrects a wrong value, as a suggestion."""

    def check_value(self, at: Field, value: str, notes: Diagnostics, rest: str = "") -> None:
        """Warn of a value that never matches; ``rest`` is what follows it in the file."""
        if not self.right.fullmatch(value):
            better = self.correct(value)
            meant = f" (did you mean {better}{rest}?)" if self.right.fullmatch(better) else ""
            said = f"{quote_value(value + rest)} never matches, expected {self.what}{meant}"
            notes.add_warning(at.place, said)


def _texts(form: _Form) -> Reader:
    """Return a reader of a list of texts of a form."""

    def read_text(at: Field, notes: Diagnostics) -> str | None:
        value = read_string(at, notes)
        if value is not None:
            form.check_value(at, value, notes)
        return value

    return list_of(read_text)


def _functions(form: _Form, example: str) -> Reader:
    """Return a reader of a list of PFs of a form, with ranges."""

    def read_functions(at: Field, notes: Diagnostics) -> pf_ranges.PfRange | None:
        value = read_string(at, notes)
        if value is None:
            return None
        try:
            found = pf_ranges.parse(value)
        except pf_ranges.MalformedError as error:
            said = f"expected like {example}, got {quote_value(value)}: {error}"
            notes.add_error(at.place, said)
            return None
        form.check_value(at, found.pf, notes, value.removeprefix(found.pf))
        return found

    return list_of(read_functions)


def _as_id(value: str) -> str:
    digits = value.strip().lower().removeprefix("0x")
    return digits and digits.rjust(4, "0")


def _as_address(value: str) -> str:
    address = value.strip().lower()
    return address if address.count(":") == 2 else f"0000:{address}"


_HEX: Final = _Form(_ID, "four hexadecimal digits in lower case", _as_id)
KEYS: Final[Mapping[str, Key]] = {
    "vendors": Key("vendors", _texts(_HEX)),
    "devices": Key("devices", _texts(_HEX)),
    "drivers": Key("drivers", _texts(_Form(_NAME, "a driver's name"))),
    "pciAddresses": Key("pci_addresses", _texts(_Form(_ADDRESS, _WHOLE_ADDRESS, _as_address))),
    "acpiIndexes": Key(
        "acpi_indexes", _texts(_Form(re.compile(r"[0-9]+"), "a decimal number", str.strip))
    ),
    "auxTypes": Key("aux_types", _read_aux_types, required='["sf"]'),
    # The part before # is compared in any case.
    "pfNames": Key(
        "pf_names",
        _functions(
            _Form(_INTERFACE, "an interface's name (an address belongs into rootDevices)"),
            "p0#0,2-7,9",
        ),
    ),
    "rootDevices": Key(
        "root_devices",
        _functions(_Form(_ROOT, _WHOLE_ADDRESS, _as_address), "0000:3b:00.0#0,2-7,9"),
    ),
    "linkTypes": Key(
        "link_types",
        _texts(_Form(re.compile(r"[^A-Z\s]+"), "a link type such as ether or infiniband")),
    ),
    "ddpProfiles": Key("ddp_profiles", _texts(_Form(_NAME, "a profile's name"))),
    "pKeys": Key(
        "p_keys",
        _texts(
            _Form(
                re.compile(r"0x[0-9a-f]{4}"),
                "a partition key such as 0x8001",
                lambda value: f"0x{_as_id(value)}",
            )
        ),
    ),
    "isRdma": Key("is_rdma", read_boolean),
    "needVhostNet": Key("need_vhost_net", read_boolean),
    "vdpaType": Key("vdpa_type", one_of("vhost", "virtio")),
}
ATTRIBUTES: Final[Mapping[str, str]] = {name: key.attribute for name, key in KEYS.items()}
"""By key of the file: the attribute with its value."""
