"""One pool of the configuration file, with all its errors."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from rbln_supervisor.core.config import dra, health, selectors
from rbln_supervisor.core.config.fields import (
    Complaint,
    Diagnostics,
    Field,
    Key,
    member_place,
    read_fields,
    read_values,
)
from rbln_supervisor.core.config.names import name_error, prefix_error
from rbln_supervisor.core.config.readers import (
    checked_string,
    map_of,
    one_of,
    read_boolean,
    read_string,
)
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_worker.contract.device import REBELLIONS
from rbln_worker.contract.pool import DeviceType, PoolSpec

_DEFAULT_TYPE: Final[DeviceType] = "netDevice"


class PoolConfig(msgspec.Struct, frozen=True):
    """A pool that can be served."""

    spec: PoolSpec
    selectors: tuple[SelectorObject, ...]
    """At least one; a device belongs to the pool if it matches one of them."""


class ParsedPool(NamedTuple):
    """A pool of the file, before its name is compared with others."""

    place: str
    name: str
    """Full resource name; empty if it is not known."""
    config: PoolConfig
    """Usable only without errors."""
    complaints: tuple[Complaint, ...]


def read_pool(at: Field, flag: str, file_notes: Diagnostics) -> ParsedPool:
    """Read a pool; ``flag`` is the prefix of one without. Warnings go to the file's notes."""
    notes = Diagnostics()
    fields = read_fields(at, [*KEYS, "selectors"], notes)
    values: dict[str, Any] = {"prefix": flag, "resource": "", "device_type": _DEFAULT_TYPE}
    objects: tuple[SelectorObject, ...] = ()
    if fields is not None:
        read = read_values(fields, KEYS, notes)
        values |= read
        if not _is_given(fields, "resourceName"):
            notes.add_error(member_place(at.place, "resourceName"), "missing, expected string")
        if _is_given(fields, "resourcePrefix") and "prefix" not in read:
            values["prefix"] = ""
        values["dra"] = dra.read_export(at, fields, values, notes)
        kind = values["device_type"]
        objects = selectors.read_selectors(at, fields.get("selectors"), kind, notes)
        if "deviceType" not in fields and any(REBELLIONS in each.vendors for each in objects):
            said = f"missing, which means {_DEFAULT_TYPE} (did you mean accelerator?)"
            notes.add_warning(member_place(at.place, "deviceType"), said)
    file_notes.warnings += notes.warnings
    config = PoolConfig(PoolSpec(**values), objects)
    is_named = config.spec.prefix and config.spec.resource
    name = config.spec.name if is_named else ""
    return ParsedPool(at.place, name, config, tuple(notes.complaints))


def _is_given(fields: Mapping[str, Field], name: str) -> bool:
    match fields.get(name):
        case None | Field(value=None | ""):
            return False
        case _:
            return True


KEYS: Final = {
    "resourceName": Key("resource", checked_string(name_error)),
    "resourcePrefix": Key("prefix", checked_string(prefix_error)),
    "deviceType": Key("device_type", one_of(*DEVICE_TYPES)),
    "excludeTopology": Key("exclude_topology", read_boolean),
    "allowCrossNuma": Key("allow_cross_numa", read_boolean),
    "preferredAllocation": Key(
        "preferred_allocation", one_of("topology", "packed", "spread", "none")
    ),
    "additionalInfo": Key("additional_info", map_of(map_of(read_string))),
    "health": Key("health", health.read_policy),
    "iommufd": Key("iommufd", read_boolean),
    "export": Key("export", one_of(*dra.EXPORTS)),
    "dra": Key("dra", dra.read_settings),
}
"""All keys but ``selectors``, whose keys depend on the device type."""
