"""Devices that can't be allocated because of the nodes that living pods were given."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.given import Given
from rbln_worker.core.pool_snapshot import HeldPool


class GivenNodes:
    """Nodes that pods were given, and the pool's devices by their current nodes."""

    def __init__(self) -> None:
        self._given = Given()
        self._by_node: defaultdict[str, set[DeviceId]] = defaultdict(set)

    def set_given(self, after: Given) -> set[DeviceId]:
        """Take the nodes that pods were given; return the devices that this may affect."""
        before, self._given = self._given, after
        concerned = {
            device
            for device in before.holders.keys() | after.holders.keys()
            if before.holders.get(device) != after.holders.get(device)
        }
        for path in before.owners.keys() | after.owners.keys():
            if before.owners.get(path) != after.owners.get(path):
                concerned |= self._by_node.get(path, set())
        return concerned

    def update_nodes(
        self, device: DeviceId, before: DeviceAllocation | None, after: DeviceAllocation | None
    ) -> None:
        """Record a change of a device's nodes."""
        if before is after:
            return
        for node in before.nodes if before else ():
            self._by_node[node.host].discard(device)
        for node in after.nodes if after else ():
            self._by_node[node.host].add(device)

    def devices_sharing(self, changed: Iterable[DeviceId]) -> set[DeviceId]:
        """Return the devices whose nodes were given to pods for one of these devices."""
        holders = self._given.holders
        paths = {
            path for one in changed for holder in holders.get(one, ()) for path in holder.paths
        }
        return {device for path in paths for device in self._by_node.get(path, ())}

    def allocation_obstacle(
        self, held: HeldPool, answers: Mapping[DeviceId, DeviceAllocation], device: DeviceId
    ) -> str:
        """Return the reason not to allocate this device because of pods' nodes; empty if none."""
        answer = answers[device]
        if held.devices[device].gone is not None or answer.faults:
            return ""  # which is a reason already
        nodes = [node.host for node in answer.nodes]

        def may_share(other: DeviceId, path: str) -> bool:
            value, theirs = held.devices.get(other), answers.get(other)
            if value is None or theirs is None or value.gone is not None:
                return False
            return bool(theirs.faults) or any(node.host == path for node in theirs.nodes)

        moved = self._given.moved_reason(device, nodes)
        return moved or self._given.occupied_reason(device, nodes, may_share)

    def restart_refusals(
        self, held: HeldPool, answers: Mapping[DeviceId, DeviceAllocation]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the reasons against a restart of containers with their old nodes, by device.

        The first result is certain; the second is for devices whose nodes are not known now.
        """
        sure: dict[str, str] = {}
        unknown: dict[str, str] = {}
        for device, holders in self._given.holders.items():
            value, answer = held.devices.get(device), answers.get(device)
            paths = [path for one in holders for path in one.paths]
            if value is None or not paths:
                continue
            if value.gone is not None:
                sure[device] = f"was {paths[0]} and is gone: {value.gone}"
            elif answer is None or answer.faults:
                faults = answer.faults if answer else ("it has not been checked yet",)
                unknown[device] = f"was {paths[0]}, its node is not known now: {'; '.join(faults)}"
            elif why := self._given.moved_reason(device, [node.host for node in answer.nodes]):
                sure[device] = why
        return sure, unknown
