"""A node with a DRA pool: supervisor, worker, API server, and a kubelet's DRA side."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.dra.names import dra_device_name
from tests.sim.api_server import SimApiServer
from tests.sim.dra_kubelet import Claim, DraDriver, DraKubelet
from tests.sim.stack import Stack
from tests.system.scene import ATOMS, VM_POOL, config, pool

NODE: Final = "node-1"
DRIVER: Final = "npu.rebellions.ai"
DRA_POOL: Final = pool("ATOM", drivers=["rebellions"], export="dra", dra={"driverName": DRIVER})


class DraScene(NamedTuple):
    """What a test has."""

    stack: Stack
    api: SimApiServer
    kubelet: DraKubelet

    @property
    def driver(self) -> DraDriver:
        return self.kubelet.wait_driver(DRIVER)

    @property
    def specs(self) -> Path:
        return self.stack.root / "var/run/cdi"

    @property
    def folder(self) -> Path:
        return self.stack.root / "var/lib/kubelet/plugins" / DRIVER

    def spec_files(self) -> list[str]:
        return sorted(path.name for path in self.specs.glob("*")) if self.specs.exists() else []

    def spec(self, claim: Claim) -> dict[str, Any]:
        text = (self.specs / f"rbln-claim-{DRIVER}_{claim.uid}.yaml").read_text()
        spec: dict[str, Any] = json.loads(text.partition("\n")[2])
        return spec

    def checkpoint(self) -> dict[str, Any]:
        claims: dict[str, Any] = json.loads((self.folder / "checkpoint.json").read_text())
        return claims

    def slices(self) -> list[Mapping[str, Any]]:
        objects = self.api.store.objects
        return [one for path, one in objects.items() if "/resourceslices/" in path]

    def allocate(self, claim: Claim, *devices: Mapping[str, Any], **rest: Any) -> Claim:  # noqa: ANN401
        """Put an allocated claim on the API server; its devices as ``result`` makes them."""
        put_claim(self.api, claim, devices, **rest)
        return claim


def result(device: str, request: str = "npus", **rest: object) -> dict[str, object]:
    """A device of status.allocation.devices.results."""
    name = dra_device_name(DeviceId(device))
    return {"request": request, "driver": DRIVER, "pool": NODE, "device": name, **rest}


def put_claim(
    api: SimApiServer,
    claim: Claim,
    devices: Sequence[Mapping[str, Any]],
    *,
    configs: Sequence[Mapping[str, Any]] = (),
    annotations: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
) -> None:
    path = f"/apis/resource.k8s.io/v1/namespaces/{claim.namespace}/resourceclaims/{claim.name}"
    api.store.objects[path] = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "name": claim.name,
            "namespace": claim.namespace,
            "uid": claim.uid,
            "annotations": dict(annotations or {}),
        },
        "spec": {},
        "status": status
        if status is not None
        else {
            "allocation": {"devices": {"results": list(devices), "config": list(configs)}},
            "reservedFor": [{"resource": "pods", "name": f"pod-of-{claim.name}", "uid": "p"}],
        },
    }


@contextmanager
def dra_node(folder: Path, *pools: dict[str, object]) -> Iterator[DraScene]:
    """Start everything, and wait for the driver."""
    with SimApiServer(folder) as api:
        api.store.objects[f"/api/v1/nodes/{NODE}"] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NODE, "uid": "node-uid"},
        }
        arguments = ("--node-name", NODE, "--kubeconfig", str(api.kubeconfig()))
        stack = Stack(config(*(pools or (DRA_POOL, VM_POOL))), arguments=arguments)
        with DraKubelet(stack.kubelet.folder) as kubelet, stack:
            scene = DraScene(stack, api, kubelet)
            assert scene.driver.info.type == "DRAPlugin"
            yield scene


__all__ = ["ATOMS", "DRIVER", "NODE", "Claim", "DraScene", "dra_node", "result"]
