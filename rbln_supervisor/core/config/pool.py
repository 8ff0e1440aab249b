"""One pool of the configuration file, with all its errors."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.config import health, selectors
from rbln_supervisor.core.config.fields import (
    Complaint,
    Diagnostics,
    Field,
    add_type_error,
    fold_key,
    member_place,
    read_boolean,
    read_fields,
    read_string,
    require_string,
)
from rbln_supervisor.core.config.names import name_error, prefix_error
from rbln_supervisor.core.config.positions import quote_value
from rbln_supervisor.core.config.selectors import ATTRIBUTES, SelectorObject
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_worker.contract.device import REBELLIONS
from rbln_worker.contract.pool import DeviceType, PoolSpec, Preferring

_MAX_NAME: Final = 320
"""Maximum length of a wrong name that still names its pool in a status (characters)."""

_KEYS: Final = (
    *("resourceName", "resourcePrefix", "deviceType", "excludeTopology", "allowCrossNuma"),
    *("preferredAllocation", "selectors", "additionalInfo", "health", "iommufd"),
)
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
    found = read_fields(at, _KEYS, notes, hint=_key_hint)
    if found is None:
        found = {}
        config = PoolConfig(PoolSpec("", "", "accelerator"), ())
    else:
        config = _read_members(at, found, flag, notes)
    file_notes.warnings += notes.warnings
    return ParsedPool(at.place, _shown_name(found, flag), config, tuple(notes.complaints))


def _read_members(
    at: Field, found: Mapping[str, Field], flag: str, notes: Diagnostics
) -> PoolConfig:
    resource = _read_resource(
        found.get("resourceName"), member_place(at.place, "resourceName"), notes
    )
    prefix = _read_prefix(found.get("resourcePrefix"), flag, notes)
    device_type = _device_type(found.get("deviceType"), notes)
    spec = PoolSpec(
        prefix,
        resource,
        device_type or _DEFAULT_TYPE,  # an unknown type is an error
        exclude_topology=read_boolean(found.get("excludeTopology"), notes),
        allow_cross_numa=read_boolean(found.get("allowCrossNuma"), notes),
        preferred_allocation=_read_preferring(found.get("preferredAllocation"), notes),
        additional_info=_additional_info(found.get("additionalInfo"), device_type, notes),
        health=health.read_policy(found.get("health"), notes),
        iommufd=read_boolean(found.get("iommufd"), notes),
    )
    place = member_place(at.place, "selectors")
    objects = selectors.read_selectors(found.get("selectors"), place, device_type, notes)
    if "deviceType" not in found and any(REBELLIONS in each.vendors for each in objects):
        said = f"missing, which means {_DEFAULT_TYPE} (did you mean accelerator?)"
        notes.add_warning(member_place(at.place, "deviceType"), said)
    return PoolConfig(spec, objects)


def _shown_name(found: Mapping[str, Field], flag: str) -> str:
    match found.get("resourceName"), found.get("resourcePrefix"):
        case Field(value=str() as resource), None | Field(value=None | ""):
            name = f"{flag}/{resource}"
        case Field(value=str() as resource), Field(value=str() as prefix):
            name = f"{prefix}/{resource}"
        case _:
            return ""
    readable = resource and name.isprintable() and len(name) <= _MAX_NAME
    return name if readable else ""


def _read_resource(at: Field | None, place: str, notes: Diagnostics) -> str:
    if at is None:
        notes.add_error(place, "missing, expected string")
        return ""
    if isinstance(at.value, str) and (wrong := name_error(at.value)):
        notes.add_error(at.place, wrong)
    return require_string(at, notes)


def _read_prefix(at: Field | None, flag: str, notes: Diagnostics) -> str:
    prefix = read_string(at, notes)
    if at and prefix and (wrong := prefix_error(prefix)):
        notes.add_error(at.place, wrong)
    return prefix or flag


def _device_type(at: Field | None, notes: Diagnostics) -> DeviceType | None:
    match at:
        case None | Field(value=None | ""):
            return _DEFAULT_TYPE
        case Field(place=place, value=str() as word):
            for known in DEVICE_TYPES:
                if word == known:
                    return known
            *others, last = DEVICE_TYPES
            types = f"{', '.join(others)} or {last}"
            notes.add_error(place, f"unknown deviceType {quote_value(word)}, expected {types}")
        case wrong:
            add_type_error(wrong, "string", notes)
    return None


def _read_preferring(at: Field | None, notes: Diagnostics) -> Preferring:
    if at is None:
        return ""
    match read_string(at, notes):
        case "" | "topology" | "packed" | "spread" | "none" as policy:
            return policy
        case other:
            said = f"expected topology, packed, spread or none, got {quote_value(other)}"
            notes.add_error(at.place, said)
            return ""


def _additional_info(
    at: Field | None, device_type: DeviceType | None, notes: Diagnostics
) -> Mapping[str, Mapping[str, str]] | None:
    match at:
        case None | Field(value=None):
            return None
        case Field(place=place, value=dict() as infos):
            return {
                key: _one_info(key, Field(_entry_place(place, key), info), device_type, notes)
                for key, info in infos.items()
            }
        case wrong:
            add_type_error(wrong, "object", notes)
            return None


def _one_info(
    device: str, at: Field, device_type: DeviceType | None, notes: Diagnostics
) -> Mapping[str, str]:
    # The information of a sub-function's PCI function counts for it, too.
    is_name = device_type == "auxNetDevice" and _AUXILIARY.fullmatch(device)
    if device != "*" and not is_name and not selectors.is_address(device):
        other = ", a name such as mlx5_core.sf.4" if device_type == "auxNetDevice" else ""
        said = f"never matches, expected *{other} or a whole address such as 0000:3b:00.0"
        notes.add_warning(at.place, said)
    match at.value:
        case dict() as info:
            return {
                key: require_string(Field(_entry_place(at.place, key), value), notes)
                for key, value in info.items()
            }
        case _:
            add_type_error(at, "object", notes)
            return {}


def _entry_place(place: str, key: str) -> str:
    return f"{place}[{quote_value(key)}]"


def _key_hint(folded: str) -> str | None:
    """Return an explanation of a key that does not belong to a pool; None if there is none."""
    if folded in _BELOW:
        return "a selector, ignored here (it belongs into selectors)"
    if folded == "selectorobjs":
        return "internal key of the reference, ignored (did you mean selectors?)"
    return None
