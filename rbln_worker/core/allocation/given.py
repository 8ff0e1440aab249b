"""Comparison of the nodes that living pods were given with those that devices have now.

The kubelet gives a container the answer of its first Allocate at each start. The names in it
(``/dev/rblnN``, ``/dev/vfio/N``, ``/dev/uioN``, ``/dev/infiniband/uverbsN``) are numbers of this
boot, or of this load of a driver: later another device may have the same name.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Literal

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.contract.pool import PoolName

PreStartChoice = Literal["auto", "always", "never"]
"""The condition for PreStartContainer. ``auto``: while the nodes of a device have changed since a
pod was given them."""

_SHARED: Final = "/dev/vfio/"
"""Prefix of nodes that the devices of an IOMMU group share."""


class Given(msgspec.Struct, frozen=True):
    """Nodes that living pods were given on this node, for one pool."""

    pool: PoolName = PoolName("")
    holders: Mapping[DeviceId, tuple[PodDevice, ...]] = {}
    """The pods that hold the pool's devices."""
    owners: Mapping[str, tuple[PodDevice, ...]] = {}
    """Pods by the path of a numbered node that they were given, for all pools."""

    def moved_reason(self, device: DeviceId, nodes: Collection[str]) -> str:
        """Return the difference between a device's nodes and those that a pod was given for it."""
        for one in self.holders.get(device, ()):
            missing = [path for path in one.paths if path not in nodes]
            if missing:
                now = [path for path in sorted(nodes) if _node_stem(path) == _node_stem(missing[0])]
                return f"was {missing[0]} for {one.holder}, is {(now or ['not there'])[0]} now"
        return ""

    def occupied_reason(
        self,
        device: DeviceId,
        nodes: Collection[str],
        may_share: Callable[[DeviceId, str], bool],
    ) -> str:
        """Return the reason not to allocate a device: a pod has one of its nodes already.

        The pod has it for another device. ``may_share`` returns True if another device of the pool
        may still have a node.
        """
        for path in sorted(nodes):
            for one in self.owners.get(path, ()):
                other = DeviceId(one.device)
                if other == device:
                    continue
                is_ours = one.resource == self.pool
                if path.startswith(_SHARED) and is_ours and may_share(other, path):
                    continue
                return f"its node {path} was given to {one.holder} as device {other}"
        return ""


def select_given(pool: PoolName, devices: Iterable[PodDevice]) -> Given:
    """Select the facts about one pool."""
    holders: defaultdict[DeviceId, list[PodDevice]] = defaultdict(list)
    owners: defaultdict[str, list[PodDevice]] = defaultdict(list)
    for one in devices:
        if one.resource == pool:
            holders[DeviceId(one.device)].append(one)
        for path in one.paths:
            owners[path].append(one)
    return Given(
        pool,
        {device: tuple(each) for device, each in holders.items()},
        {path: tuple(each) for path, each in owners.items()},
    )


def _node_stem(path: str) -> str:
    return path.rstrip("0123456789")
