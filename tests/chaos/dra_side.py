"""The DRA side of the world: a cluster, RSD groups, and what claims leave on the node."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.chaos import pools
from tests.sim.dra_cluster import SimCluster
from tests.sim.kubelet import SimKubelet
from tests.sim.rsd import SimRsd


class DraSide(SimCluster):
    """Serves from ``with`` to the end of the block."""

    def __init__(self, home: Path, root: Path, kubelet: SimKubelet) -> None:
        """``home``: a folder of our own; ``root``: the node's."""
        super().__init__(home, pools.NODE)
        self.rsd = SimRsd(root, pools.RSD_NPUS)
        self.kubelet = kubelet
        self.specs = root / "var/run/cdi"
        kubelet.dra.wipe = self.wipe_slices

    def is_allocatable(self, pool: str, device: str) -> bool:
        """Return True if the scheduler would give a device out."""
        return pools.dra_name(device) in self.allocatable(pools.DRA[pool].driver)

    def checkpoint(self, pool: str) -> Path:
        """Return the path of a driver's checkpoint."""
        return self.kubelet.folder / "plugins" / pools.DRA[pool].driver / "checkpoint.json"

    def differences(self) -> Iterator[str]:
        """Yield what is not as it is when nothing is broken; claims may come and go."""
        for pool, rest in pools.DRA.items():
            listed = self.allocatable(rest.driver)
            if listed != tuple(sorted(rest.npus)):
                yield f"the slices of {pool} advertise {listed}"
            endpoints = self.kubelet.dra.endpoints(rest.driver)
            if len(endpoints) != 1:
                yield f"the kubelet asks {pool} at {endpoints}"
            health = {
                name: self.kubelet.dra.health.get((rest.driver, pools.NODE, name))
                for name in rest.npus
            }
            sick = {
                name: one for name, one in health.items() if one is None or one.now() != "HEALTHY"
            }
            if sick:
                yield f"the kubelet knows this health of {pool}: {sick}"

    def remains(self) -> Iterator[str]:
        """Yield what is left of claims; call it when there are none."""
        if specs := sorted(path.name for path in self.specs.glob("*claim*")):
            yield f"CDI specs of claims that are gone: {specs}"
        if self.rsd.groups:
            yield f"RSD groups of claims that are gone: {self.rsd.groups}"
        for pool in pools.DRA:
            path = self.checkpoint(pool)
            entries = json.loads(path.read_bytes())["claims"] if path.exists() else {}
            if entries:
                yield f"{path.parent.name} has claims that are gone in its checkpoint: {entries}"
            metadata = path.parent / "metadata"
            if metadata.is_dir() and (left := sorted(one.name for one in metadata.iterdir())):
                yield f"metadata of claims that are gone: {left}"
