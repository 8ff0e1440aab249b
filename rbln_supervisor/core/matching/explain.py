"""Explains why a device is in its pool, or in none, when a client requests it.

It matches selectors with the code that assigns devices (selector_match.py), so that both agree.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from enum import StrEnum
from typing import Final

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.positions import limit_lines
from rbln_supervisor.core.device_types.base import Candidate, RefusalReason
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES, candidates
from rbln_supervisor.core.matching.assign import bound_selectors
from rbln_supervisor.core.matching.hints import selector_hints
from rbln_supervisor.core.matching.selector_match import Mismatch, selector_values
from rbln_supervisor.core.status import DeviceStatus
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import DeviceType, PoolName

MAX_SHOWN: Final = 20
"""Maximum number of devices in a note; then "and N more"."""

_SHORT_ADDRESS: Final = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Decision(StrEnum):
    """Decisions of a pool about a device."""

    MATCHED = "matched"
    """The device is in this pool."""
    SHADOWED = "shadowed"
    """The device matches, but is in an earlier pool of the file."""
    REJECTED = "rejected"
    """No selector object matches."""
    OTHER_TYPE = "other type"
    """The pool has another device type."""
    INVALID = "invalid"
    """The pool's configuration is invalid."""
    REFUSED = "refused"
    """No pool can have the device."""


_NOTES: Final[Mapping[Decision, str]] = {
    Decision.REJECTED: "rejected by its selectors",
    Decision.SHADOWED: "in earlier pools",
    Decision.REFUSED: "not assignable",
}


class PoolDecision(msgspec.Struct, frozen=True):
    """The decision of a pool about a device."""

    pool: str
    decision: Decision
    selector: int | None = None
    """Index of the first of its selector objects that matches."""
    mismatches: tuple[Mismatch, ...] = ()
    """The mismatch of each selector object before that one, or of all; in their order."""


class ExportedDevice(msgspec.Struct, frozen=True):
    """A device in the ResourceSlices of its pool, which is exported by DRA."""

    driver: str
    name: str
    """Its name there, such as ``0000-3b-00-0``."""
    taint: str = ""
    """Its taint, ``key=value:effect``; empty if it has none."""


class Explanation(msgspec.Struct, frozen=True):
    """All that is known of a device: its pool, or a reason, or the pools' decisions."""

    device: DeviceId
    device_type: DeviceType | None
    """None if not known."""
    pool: PoolName | None = None
    """Pool of the device."""
    selector: int | None = None
    """Index of the selector object that matched it."""
    refusal: RefusalReason | None = None
    """Reason why no pool can have the device."""
    detail: str = ""
    """Sentence about the refusal."""
    pools: tuple[PoolDecision, ...] = ()
    """Decisions of all pools, in the order of the file; empty if there is a refusal."""
    values: Mapping[str, str] = {}
    """By selector key of its type: the device's value."""
    notes: tuple[str, ...] = ()
    health: DeviceStatus | None = None
    """Health of the device, if a pool lists it."""
    dra: ExportedDevice | None = None
    """None unless its pool is exported by DRA."""


def explain(
    config: NodeConfig,
    node: NodeInventory,
    name: str,
    gone: Mapping[PoolName, Iterable[Device]],
    altnames: Mapping[str, str] = {},
) -> Explanation | None:
    """Return where a device is and why; None if it is unknown.

    Args:
        config: the pools.
        node: the result of the last discovery.
        name: a name of the device: its ID, an address without its domain, an interface or an
            alternative name of one, an RDMA device, a path in /sys that ends in one of these.
        gone: devices that do not exist any more and that a pool still lists as Unhealthy.
        altnames: the names of interfaces by their alternative names.
    """
    every = {
        candidate.device.id: (device_type, candidate)
        for device_type in DEVICE_TYPES
        for candidate in candidates(node, device_type)
    }
    listed = {device.id: (pool, device) for pool, devices in gone.items() for device in devices}
    known = {*every, *listed, *node.unreadable}
    devices = [candidate.device for _, candidate in every.values()]
    meant, notes = _resolve_name(name, known, devices, altnames)
    device_id = DeviceId(meant)
    if device_id in listed:
        pool, device = listed[device_id]
        notes = (*notes, f"{pool} lists it as Unhealthy for a while: {device.gone}")
    if device_id in every:
        device_type, candidate = every[device_id]
        related = _group_note(candidate.device, node)
        hints = selector_hints(config.pools, candidate.device, altnames)
        return _explain_candidate(config, device_type, candidate, (*notes, *related, *hints))
    if error := node.unreadable.get(meant):
        refusal, detail = RefusalReason.UNREADABLE, f"{RefusalReason.UNREADABLE.text}: {error}"
    elif device_id in listed:
        refusal, detail = RefusalReason.GONE, RefusalReason.GONE.text
    else:
        return None
    return Explanation(device_id, None, refusal=refusal, detail=detail, notes=notes)


def pool_decisions(
    pools: Iterable[PoolConfig], device_type: DeviceType, device: Device
) -> list[PoolDecision]:
    """Return each pool's decision about a device without a refusal, in the order of the pools."""
    decisions: list[PoolDecision] = []
    matched = False
    for pool in pools:
        name = pool.spec.name
        if pool.spec.device_type != device_type:
            decisions.append(PoolDecision(name, Decision.OTHER_TYPE))
            continue
        mismatches: list[Mismatch] = []
        for one in bound_selectors([pool], device_type):
            if mismatch := one.compiled.first_mismatch(device):
                mismatches.append(mismatch)
                continue
            decision = Decision.SHADOWED if matched else Decision.MATCHED
            decisions.append(PoolDecision(name, decision, one.place.selector, tuple(mismatches)))
            matched = True
            break
        else:
            decisions.append(PoolDecision(name, Decision.REJECTED, None, tuple(mismatches)))
    return decisions


def match_counts(
    pools: Iterable[PoolConfig], node: NodeInventory
) -> dict[PoolName, Counter[Decision]]:
    """Return for each pool how many devices of its type have which decision."""
    pools = tuple(pools)
    counts: dict[PoolName, Counter[Decision]] = {pool.spec.name: Counter() for pool in pools}
    for device_type in dict.fromkeys(pool.spec.device_type for pool in pools):
        names = [pool.spec.name for pool in pools if pool.spec.device_type == device_type]
        selectors = tuple(bound_selectors(pools, device_type))
        for candidate in candidates(node, device_type):
            device = candidate.device
            matching = [one.place.pool for one in selectors if one.compiled.matches_device(device)]
            for name in names:
                if candidate.refusal is not None:
                    decision = Decision.REFUSED
                elif name not in matching:
                    decision = Decision.REJECTED
                else:
                    decision = Decision.MATCHED if name == matching[0] else Decision.SHADOWED
                counts[name][decision] += 1
    return counts


def match_notes(counts: Mapping[Decision, int]) -> Iterator[str]:
    """Yield how many devices of its type a pool does not get, and why."""
    for decision, note in _NOTES.items():
        if count := counts.get(decision):
            yield f"{count} {note}"


def _explain_candidate(
    config: NodeConfig, device_type: DeviceType, candidate: Candidate, notes: tuple[str, ...]
) -> Explanation:
    device = candidate.device
    values = selector_values(device, DEVICE_TYPES[device_type].selectors)
    explanation = Explanation(device.id, device_type, values=values, notes=notes)
    if (refusal := candidate.refusal) is not None:
        is_other = refusal is RefusalReason.NO_FUNCTION_DRIVER
        detail = f"{refusal.text} {device.function.bdf}" if is_other else refusal.text
        return msgspec.structs.replace(explanation, refusal=refusal, detail=detail)
    decisions = pool_decisions(config.pools, device_type, device)
    owner = next((one for one in decisions if one.decision is Decision.MATCHED), None)
    return msgspec.structs.replace(
        explanation,
        pool=owner.pool if owner else None,
        selector=owner.selector if owner else None,
        pools=(*decisions, *(PoolDecision(pool.name, Decision.INVALID) for pool in config.invalid)),
    )


def _resolve_name(
    name: str, known: Set[str], devices: Iterable[Device], altnames: Mapping[str, str]
) -> tuple[str, tuple[str, ...]]:
    """Return the ID for a name, and notes on the interpretation if the name is not the ID."""
    text = name.rstrip("/").rpartition("/")[2] if name.startswith("/sys/") else name
    lower = text.strip().lower()
    short = _SHORT_ADDRESS.fullmatch(lower)
    full = f"0000:{lower}" if short else lower
    elsewhere = [one for one in known if short and one.partition(":")[2] == lower]
    for spelled in (text, full, *(elsewhere if len(elsewhere) == 1 else ())):
        if spelled in known:
            return spelled, () if spelled == name else (f"{name} is read as {spelled}",)
    for device in devices:
        if note := _name_note(text, device, altnames):
            return device.id, (note,)
    return full, ()


def _name_note(name: str, device: Device, altnames: Mapping[str, str]) -> str:
    """Return how a name refers to a device; empty if it does not."""
    interface = altnames.get(name, name)
    if device.network and interface in device.network.interfaces:
        alternative = f"an alternative name of {interface}, " if interface != name else ""
        return f"{name} is {alternative}an interface of {device.id}"
    if device.network and name in device.network.rdma:
        return f"{name} is an RDMA device of {device.id}"
    return ""


def _group_note(device: Device, node: NodeInventory) -> Iterator[str]:
    """Yield a note on other functions that a virtual machine gets with the device."""
    bdf, group = device.function.bdf, device.function.iommu_group
    others = [o.bdf for o in node.functions.values() if o.iommu_group == group and o.bdf != bdf]
    if group and others and device.subfunction is None:
        names = ", ".join(limit_lines(tuple(others), MAX_SHOWN))
        yield f"its IOMMU group {group} also has {names}: all of them go to the same VM"
