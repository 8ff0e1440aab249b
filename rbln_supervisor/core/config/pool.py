"""One pool of the configuration file, with all its errors."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from rbln_supervisor.core.config import health, selectors
from rbln_supervisor.core.config.fields import (
    Complaint,
    Diagnostics,
    Field,
    Key,
    member_place,
    read_fields,
    read_values,
)
from rbln_supervisor.core.config.names import driver_error, name_error, prefix_error
from rbln_supervisor.core.config.readers import (
    checked_string,
    list_of,
    map_of,
    one_of,
    read_boolean,
    read_string,
    struct_of,
)
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_worker.contract.device import REBELLIONS
from rbln_worker.contract.health import VERDICT_SOURCES, HealthPolicy
from rbln_worker.contract.pool import DeviceType, DraExport, PoolSpec

_DEFAULT_TYPE: Final[DeviceType] = "netDevice"
_EXPORTS: Final = ("device-plugin", "dra")
"""The values of ``export``; the first one is the default."""


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
        values["dra"] = _read_export(at, fields, values, notes)
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


def _read_export(
    at: Field, fields: Mapping[str, Field], values: dict[str, Any], notes: Diagnostics
) -> DraExport | None:
    """Return the pool's export by DRA; None if it is exported by the device-plugin API.

    It takes the values of both keys out of ``values``, which has the pool's other values.
    """
    export = values.pop("export", _EXPORTS[0])
    settings: dict[str, Any] = values.pop("dra", {})
    if export != "dra":
        if "dra" in fields:
            said = 'has no effect without "export": "dra"'
            notes.add_warning(member_place(at.place, "dra"), said)
        return None
    device_type = values["device_type"]
    if device_type != "accelerator":
        said = f'"dra" is for pools of deviceType accelerator, this one is {device_type}'
        notes.add_error(member_place(at.place, "export"), said)
    if "driver" not in settings and values["resource"] and values["prefix"]:
        default = f"{values['resource']}.{values['prefix']}"
        settings["driver"] = default.lower().replace("_", "-")
        if wrong := driver_error(settings["driver"]):
            place = member_place(member_place(at.place, "dra"), "driverName")
            notes.add_error(place, f"missing, and the default can't be used: {wrong}")
    return DraExport(**{"driver": "", **settings})


def _is_given(fields: Mapping[str, Field], name: str) -> bool:
    match fields.get(name):
        case None | Field(value=None | ""):
            return False
        case _:
            return True


DRA_KEYS: Final = {
    "driverName": Key("driver", checked_string(driver_error)),
    "evictOn": Key("evict_on", list_of(one_of(*VERDICT_SOURCES))),
}
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
    "health": Key("health", struct_of(HealthPolicy, health.KEYS)),
    "iommufd": Key("iommufd", read_boolean),
    "export": Key("export", one_of(*_EXPORTS)),
    "dra": Key("dra", struct_of(dict, DRA_KEYS)),
}
"""All keys but ``selectors``, whose keys depend on the device type."""
