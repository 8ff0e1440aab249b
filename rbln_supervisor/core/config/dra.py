"""The export of a pool by Dynamic Resource Allocation (DRA): its keys ``export`` and ``dra``."""

from collections.abc import Mapping
from typing import Any, Final

from rbln_supervisor.core.config.fields import (
    Diagnostics,
    Field,
    Key,
    member_place,
    read_members,
)
from rbln_supervisor.core.config.names import driver_error
from rbln_supervisor.core.config.readers import checked_string, list_of, one_of
from rbln_worker.contract.health import VERDICT_SOURCES
from rbln_worker.contract.pool import DraExport

EXPORTS: Final = ("device-plugin", "dra")
"""The values of ``export``; the first one is the default."""


def default_driver(prefix: str, resource: str) -> str:
    """Return the name of the driver of a pool that configures none."""
    return f"{resource}.{prefix}".lower().replace("_", "-")


def read_export(
    at: Field, fields: Mapping[str, Field], values: dict[str, Any], notes: Diagnostics
) -> DraExport | None:
    """Return the pool's export by DRA; None if it is exported by the device-plugin API.

    It takes the values of both keys out of ``values``, which has the pool's other values.
    """
    export = values.pop("export", EXPORTS[0])
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
        settings["driver"] = default_driver(values["prefix"], values["resource"])
        if wrong := driver_error(settings["driver"]):
            place = member_place(member_place(at.place, "dra"), "driverName")
            notes.add_error(place, f"missing, and the default can't be used: {wrong}")
    return DraExport(**{"driver": "", **settings})


def read_settings(at: Field, notes: Diagnostics) -> dict[str, Any] | None:
    """Read the ``dra`` key: the attributes of a DraExport that are configured."""
    return read_members(at, KEYS, notes)


KEYS: Final = {
    "driverName": Key("driver", checked_string(driver_error)),
    "evictOn": Key("evict_on", list_of(one_of(*VERDICT_SOURCES))),
}
