"""Keeps facts of NICs whose interface has moved into a pod's network namespace.

The move hides what selectors ask for: link type, partition key, RDMA devices, name of the PF. While
the same driver is bound, the function is the same and stays in its pool
(sriov-network-device-plugin reads it once).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from rbln_worker.contract.device import Bdf, Device, Network, PciFunction, Subfunction
from rbln_worker.contract.inventory import NodeInventory


def with_carried_over(before: NodeInventory, now: NodeInventory) -> NodeInventory:
    """Return a discovery's result, with facts of an earlier one that it could not read."""
    functions = {
        bdf: _carry_function(before.functions.get(bdf), function)
        for bdf, function in now.functions.items()
    }
    subfunctions = {
        bdf: _carry_subfunctions(before, bdf, now, several)
        for bdf, several in now.subfunctions.items()
    }
    return msgspec.structs.replace(now, functions=functions, subfunctions=subfunctions)


def node_of_devices(devices: Iterable[Device]) -> NodeInventory:
    """Return an earlier supervisor's facts of the devices that its workers have."""
    functions: dict[Bdf, PciFunction] = {}
    subfunctions: defaultdict[Bdf, tuple[Subfunction, ...]] = defaultdict(tuple)
    for device in devices:
        if device.gone is not None:
            continue
        functions[device.function.bdf] = device.function
        if device.subfunction is not None:
            subfunctions[device.function.bdf] += (device.subfunction,)
    return NodeInventory(functions, subfunctions)


def _carry_function(before: PciFunction | None, now: PciFunction) -> PciFunction:
    if before is None or now.network is None or now.driver is None or now.driver != before.driver:
        return now
    network = _carry_network(before.network, now.network)
    pf_names = now.pf_names or (before.pf_names if now.pf == before.pf else ())
    if network == now.network and pf_names == now.pf_names:
        return now
    return msgspec.structs.replace(now, network=network, pf_names=pf_names)


def _carry_subfunctions(
    before: NodeInventory, bdf: Bdf, now: NodeInventory, several: tuple[Subfunction, ...]
) -> tuple[Subfunction, ...]:
    former, function = before.functions.get(bdf), now.functions.get(bdf)
    if former is None or function is None or former.driver != function.driver:
        return several
    known: Mapping[str, Subfunction] = {one.name: one for one in before.subfunctions.get(bdf, ())}
    return tuple(
        msgspec.structs.replace(one, network=_carry_network(known[one.name].network, one.network))
        if one.name in known and known[one.name].number == one.number
        else one
        for one in several
    )


def _carry_network(before: Network | None, now: Network) -> Network:
    if before is None or now.interfaces:
        return now
    return msgspec.structs.replace(
        now,
        link_type=before.link_type or now.link_type,
        pkey=now.pkey or before.pkey,
        rdma_capable=now.rdma_capable or before.rdma_capable,
        ddp_profile=now.ddp_profile or before.ddp_profile,
    )
