"""A stack with a pool that is exported by DRA, and the API server that it publishes to."""

import tempfile
from pathlib import Path
from typing import Final, Self

from tests.sim.api_server import SimApiServer
from tests.sim.api_store import Obj
from tests.sim.kubelet import kubelet_1_37
from tests.sim.stack import Stack
from tests.system.dra_scene import DRA_POOL, NODE
from tests.system.scene import ATOM, VM_POOL, config

SLICES: Final = "/apis/resource.k8s.io/v1/resourceslices"


class DraStack(Stack):
    """A DRA pool and a device-plugin pool, with an API server."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
        self.api = SimApiServer(folder)
        self._kubeconfig = folder / "kubeconfig"
        arguments = ("--node-name", NODE, "--kubeconfig", str(self._kubeconfig))
        super().__init__(config(DRA_POOL, VM_POOL), arguments=arguments, kubelet=kubelet_1_37)

    def __enter__(self) -> Self:
        self.api.__enter__()
        self.api.store.create("/api/v1/nodes", {"metadata": {"name": NODE}})
        self.api.kubeconfig()
        self.kubelet.dra.wipe = lambda _: self.wipe_slices()
        super().__enter__()
        self.wait_status(
            lambda status: ATOM in status.pools and status.pools[ATOM].registered,
            what="the kubelet knows the driver",
        )
        return self

    def slices(self) -> list[Obj]:
        """All ResourceSlices, in the order of their names."""
        found = self.api.store.list_objects(SLICES)["items"]
        return sorted(found, key=lambda one: str(one["metadata"]["name"]))

    def wipe_slices(self) -> None:
        """Delete all slices, as the kubelet does at its start."""
        for one in self.slices():
            self.api.store.delete(f"{SLICES}/{one['metadata']['name']}", {})

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[arg-type]
        self.api.__exit__()
