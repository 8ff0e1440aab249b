"""One pool of the configuration file, with all its errors."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from rbln_supervisor.core.config import dra, health, selectors
from rbln_supervisor.core.config.fields import (
    Complaint,
    Diagnostics,
    Field,
    Key,
    entry_place,
    fold_key,
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
from rbln_supervisor.core.config.selectors import ATTRIBUTES, SelectorObject
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_worker.contract.device import REBELLIONS
from rbln_worker.contract.pool import DeviceType, PoolSpec

_MAX_NAME: Final = 320
"""Maximum length of a wrong name that still names its pool in a status (characters)."""
_BELOW: Final = frozenset(map(fold_key, ATTRIBUTES))
_AUXILIARY: Final = re.compile(r"\S+\.\S+\.[0-9]+")
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
    fields = read_fields(at, [*KEYS, "selectors"], notes, hint=_key_hint)
    values: dict[str, Any] = {"prefix": flag, "resource": ""}
    objects: tuple[SelectorObject, ...] = ()
    if fields is not None:
        if not _is_given(fields, "deviceType"):
            values["device_type"] = _DEFAULT_TYPE
        values |= read_values(at, fields, KEYS, notes)
        values["dra"] = dra.read_export(at, fields, values, notes)
        device_type = values.get("device_type")
        if infos := fields.get("additionalInfo"):
            _check_info_keys(infos, device_type, notes)
        objects = selectors.read_selectors(at, fields.get("selectors"), device_type, notes)
        if "deviceType" not in fields and any(REBELLIONS in each.vendors for each in objects):
            said = f"missing, which means {_DEFAULT_TYPE} (did you mean accelerator?)"
            notes.add_warning(member_place(at.place, "deviceType"), said)
    values.setdefault("device_type", _DEFAULT_TYPE)  # an unknown type is an error
    file_notes.warnings += notes.warnings
    name = _shown_name(fields or {}, flag)
    config = PoolConfig(PoolSpec(**values), objects)
    return ParsedPool(at.place, name, config, tuple(notes.complaints))


def _is_given(fields: Mapping[str, Field], name: str) -> bool:
    match fields.get(name):
        case None | Field(value=None | ""):
            return False
        case _:
            return True


def _shown_name(fields: Mapping[str, Field], flag: str) -> str:
    prefix = fields["resourcePrefix"].value if _is_given(fields, "resourcePrefix") else flag
    resource = fields["resourceName"].value if _is_given(fields, "resourceName") else None
    if not (isinstance(prefix, str) and isinstance(resource, str)):
        return ""
    name = f"{prefix}/{resource}"
    return name if name.isprintable() and len(name) <= _MAX_NAME else ""


def _check_info_keys(infos: Field, device_type: DeviceType | None, notes: Diagnostics) -> None:
    """Warn of keys of additionalInfo that can be no device's."""
    other = ", a name such as mlx5_core.sf.4" if device_type == "auxNetDevice" else ""
    for device in infos.value if isinstance(infos.value, dict) else ():
        # The information of a sub-function's PCI function counts for it, too.
        is_name = other and _AUXILIARY.fullmatch(device)
        if device != "*" and not is_name and not selectors.is_address(device):
            said = f"never matches, expected *{other} or a whole address such as 0000:3b:00.0"
            notes.add_warning(entry_place(infos.place, device), said)


def _key_hint(folded: str) -> str | None:
    """Return an explanation of a key that does not belong to a pool; None if there is none."""
    if folded in _BELOW:
        return "a selector, ignored here (it belongs into selectors)"
    if folded == "selectorobjs":
        return "internal key of the reference, ignored (did you mean selectors?)"
    return None


KEYS: Final = {
    "resourceName": Key(
        "resource", checked_string(name_error, may_be_empty=False), required="string"
    ),
    "resourcePrefix": Key("prefix", checked_string(prefix_error)),
    "deviceType": Key("device_type", one_of(*DEVICE_TYPES, what="unknown deviceType")),
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
