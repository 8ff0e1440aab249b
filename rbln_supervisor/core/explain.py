"""Why a device is in the pool that it is in, or in none: asked of one device, when people ask.

The selectors are asked by the code that assigns (selecting.py), so that the two can't differ.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from rbln_supervisor.core.assign import asked, assign
from rbln_supervisor.core.configuration.config import NodeConfig
from rbln_supervisor.core.configuration.pool import PoolConfig
from rbln_supervisor.core.hints import hints
from rbln_supervisor.core.node import Node, candidates
from rbln_supervisor.core.selecting import Objection, values
from rbln_supervisor.core.status import DeviceStatus
from rbln_supervisor.core.types.kind import Candidate
from rbln_supervisor.core.types.registry import KINDS
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import DeviceType, PoolName

SHOWN_MOST: Final = 20
"""Devices that a note names; then "and N more"."""

_SHORT_ADDRESS: Final = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")

Answer = Literal["takes", "later", "turns away", "other type", "invalid"]
"""``takes``: the device is the pool's; ``later``: it matches, and so does a pool that stands before
it in the file; ``turns away``: none of its objects matches; ``other type``: its devices are of
another type; ``invalid``: its configuration can't be used."""


class Opinion(msgspec.Struct, frozen=True):
    """What a pool says of a device."""

    pool: str
    answer: Answer
    selector: int | None = None
    """The first of its selector objects that matches."""
    objections: tuple[Objection, ...] = ()
    """Why not, one for each object before that, or for all of them; in their order."""


class Tally(msgspec.Struct, frozen=True):
    """What became of the devices of a pool's type. The four others are the first one's parts."""

    candidates: int = 0
    takes: int = 0
    refused: int = 0
    """No pool can have them."""
    earlier: int = 0
    """They match, and a pool before it in the file has them."""
    turned_away: int = 0


class Explanation(msgspec.Struct, frozen=True):
    """All that there is to say of a device; a pool has it, or there is a reason, or opinions."""

    device: DeviceId
    device_type: DeviceType | None
    """None where that is not known."""
    pool: PoolName | None = None
    """What has it."""
    selector: int | None = None
    """The index of the selector object that took it."""
    reason: str = ""
    """Why no pool can have it, or why it is there no more: whatever the selectors say."""
    pools: tuple[Opinion, ...] = ()
    """Every pool, in the order of the file; none where there is a reason."""
    values: Mapping[str, str] = {}
    """What each key that a selector of its type can have is compared with."""
    notes: tuple[str, ...] = ()
    health: DeviceStatus | None = None
    """How it is, where a pool lists it."""


def explain(
    config: NodeConfig,
    node: Node,
    name: str,
    gone: Mapping[PoolName, Iterable[Device]],
    altnames: Mapping[str, str] = {},
) -> Explanation | None:
    """Where a device is and why; None where nothing is known of it.

    Args:
        config: the pools.
        node: what was found on the node.
        name: what somebody calls the device: its ID, an address without its domain, an interface
            or an alternative name of one, an RDMA device, a path in /sys that ends in one of these.
        gone: devices that are no more and that a pool still lists as Unhealthy.
        altnames: the names of interfaces by their alternative names.
    """
    every = {
        candidate.device.id: (device_type, candidate)
        for device_type in KINDS
        for candidate in candidates(node, device_type)
    }
    listed = {device.id: (pool, device) for pool, devices in gone.items() for device in devices}
    known = {*every, *listed, *node.unreadable}
    found = [candidate.device for _, candidate in every.values()]
    meant, notes = _meant(name, known, found, altnames)
    device_id = DeviceId(meant)
    if device_id in listed:
        pool, device = listed[device_id]
        notes = (*notes, f"{pool} lists it as Unhealthy for a while: {device.gone}")
    if device_id in every:
        device_type, candidate = every[device_id]
        related = _relatives(candidate.device, node)
        mixed_up = hints(config.pools, candidate.device, altnames)
        return _of(config, device_type, candidate, (*notes, *related, *mixed_up))
    if why := node.unreadable.get(meant):
        return Explanation(device_id, None, reason=f"it can't be read: {why}", notes=notes)
    if device_id in listed:
        return Explanation(device_id, None, reason="it is not there any more", notes=notes)
    return None


def opinions(pools: Iterable[PoolConfig], device_type: DeviceType, device: Device) -> list[Opinion]:
    """What each pool says of a device that a pool can have, in their order."""
    found: list[Opinion] = []
    taken = False
    for pool in pools:
        name = pool.spec.name
        if pool.spec.device_type != device_type:
            found.append(Opinion(name, "other type"))
            continue
        objections: list[Objection] = []
        for one in asked([pool], device_type):
            if objection := one.questions.objection(device):
                objections.append(objection)
                continue
            answer: Answer = "later" if taken else "takes"
            found.append(Opinion(name, answer, one.place.selector, tuple(objections)))
            taken = True
            break
        else:
            found.append(Opinion(name, "turns away", None, tuple(objections)))
    return found


def tallies(pools: Iterable[PoolConfig], node: Node) -> dict[PoolName, Tally]:
    """What became of all candidates, for each pool."""
    pools = tuple(pools)
    taken = assign(pools, node).taken
    counts = {pool.spec.name: dict.fromkeys(Tally.__struct_fields__, 0) for pool in pools}
    for device_type in dict.fromkeys(pool.spec.device_type for pool in pools):
        objects = tuple(asked(pools, device_type))
        names = tuple(dict.fromkeys(one.place.pool for one in objects))
        for candidate in candidates(node, device_type):
            device = candidate.device
            place = taken.get(device.id)
            for name in names:
                if candidate.refusal is not None:
                    word = "refused"
                elif place and place.pool == name:
                    word = "takes"
                elif place and any(
                    one.place.pool == name and one.questions.match(device) for one in objects
                ):
                    word = "earlier"
                else:
                    word = "turned_away"
                counts[name][word] += 1
                counts[name]["candidates"] += 1
    return {name: Tally(**count) for name, count in counts.items()}


def _of(
    config: NodeConfig, device_type: DeviceType, candidate: Candidate, notes: tuple[str, ...]
) -> Explanation:
    device = candidate.device
    has = values(device, KINDS[device_type].selectors)
    if candidate.refusal is not None:
        return Explanation(
            device.id, device_type, reason=candidate.refusal, values=has, notes=notes
        )
    said = opinions(config.pools, device_type, device)
    taker = next((one for one in said if one.answer == "takes"), None)
    return Explanation(
        device.id,
        device_type,
        pool=PoolName(taker.pool) if taker else None,
        selector=taker.selector if taker else None,
        pools=(*said, *(Opinion(pool.name, "invalid") for pool in config.invalid)),
        values=has,
        notes=notes,
    )


def _meant(
    name: str, known: Iterable[str], found: Iterable[Device], altnames: Mapping[str, str]
) -> tuple[str, tuple[str, ...]]:
    """The ID that a name stands for, and how it was read where it is not the ID itself."""
    known = set(known)
    text = name.rstrip("/").rpartition("/")[2] if name.startswith("/sys/") else name
    lower = text.strip().lower()
    short = _SHORT_ADDRESS.fullmatch(lower)
    whole = f"0000:{lower}" if short else lower
    elsewhere = [one for one in known if short and one.partition(":")[2] == lower]
    for spelled in (text, whole, *(elsewhere if len(elsewhere) == 1 else ())):
        if spelled in known:
            return spelled, () if spelled == name else (f"{name} is read as {spelled}",)
    for device in found:
        if notes := tuple(_called(text, device, altnames)):
            return device.id, notes
    return whole, ()


def _called(name: str, device: Device, altnames: Mapping[str, str]) -> Iterator[str]:
    """Notes on how a name refers to a device; none where it does not."""
    network = device.network
    if network is None:
        return
    interface = altnames.get(name, name)
    if interface in network.interfaces:
        alternative = f"an alternative name of {interface}, " if interface != name else ""
        yield f"{name} is {alternative}an interface of {device.id}"
    elif name in network.rdma:
        yield f"{name} is an RDMA device of {device.id}"
    if interface in network.representors:
        own = " or ".join(network.own_interfaces) or "its uplink's name"
        yield f"{interface} stands for another function of its eswitch: pfNames takes {own}"


def _relatives(device: Device, node: Node) -> Iterator[str]:
    """Devices that may be meant in its place."""
    if device.subfunction is not None:
        return
    bdf, group = device.function.bdf, device.function.iommu_group
    if group:
        others = [o.bdf for o in node.functions.values() if o.iommu_group == group and o.bdf != bdf]
        if others:
            yield f"its IOMMU group {group} is shared: one VM has it or {_named(others)} as well"
    if below := [one.bdf for one in node.functions.values() if one.pf == bdf]:
        yield f"its virtual functions are devices of their own: {_named(below)}"
    if parts := [one.name for one in node.subfunctions.get(bdf, ())]:
        yield f"its sub-functions are devices of their own: {_named(parts)}"


def _named(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - SHOWN_MOST
    return ", ".join([*names[:SHOWN_MOST], *([f"and {more} more"] if more > 0 else [])])
