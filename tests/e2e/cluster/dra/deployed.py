"""The shipped overlay for DRA with NPUs by claims, and VFIO devices by the device-plugin API."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.contract.claims import PreparedClaim
from tests.e2e.cluster.api import Object
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.daemonset import CONFIG_MAP, DaemonSet, overlay
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Container
from tests.system.scene import ATOMS, VM_POOL, config, pool

DRIVER: Final = "npu.rebellions.ai"
FAILED: Final = "FailedPrepareDynamicResources"
CLASS: Final = "npu.rebellions.ai"
"""The DeviceClass that the overlay brings; a pod's limit of RESOURCE means it, too."""
NPU: Final = "rebellions.ai/npu"
"""The pool, and the extended resource, as which it was and is asked for."""
PCIE_ROOT: Final = "resource.kubernetes.io/pcieRoot"

_NPU_POOL: Final = pool("npu", drivers=["rebellions"])


def both_exports(*, evict_on: Sequence[str] = ()) -> Object:
    """A configuration with a pool of each export."""
    export = {"export": "dra", "dra": {"driverName": DRIVER, "evictOn": list(evict_on)}}
    return config({**_NPU_POOL, **export}, VM_POOL)


def plugins_only() -> Object:
    """The same pools, both exported by the device-plugin API."""
    return config(_NPU_POOL, VM_POOL)


def dra_overlay(folder: Path, configuration: Mapping[str, object]) -> Path:
    """A user's kustomization of the shipped overlay, with a configuration of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(msgspec.json.encode(configuration))
    return overlay(folder, base="overlays/dra", configMapGenerator=[CONFIG_MAP])


def configure(daemonset: DaemonSet, configuration: Mapping[str, object]) -> float:
    """Replace the configuration in the ConfigMap; when that was (monotonic)."""
    return daemonset.configure(json.dumps(configuration))


def device_names() -> set[str]:
    """The names of the node's NPUs in slices."""
    return {bdf.replace(":", "-").replace(".", "-") for bdf in ATOMS}


def bdf_of(device: str) -> str:
    """The PCI address of a device of a slice."""
    domain, bus, slot, function = device.split("-")
    return f"{domain}:{bus}:{slot}.{function}"


def paths_of(node: HostNode, devices: Sequence[str]) -> set[str]:
    """The device nodes of devices of slices."""
    return {node.path(bdf_of(device)) for device in devices}


def npu_paths(container: Container) -> set[str]:
    """The nodes of NPUs that a container has."""
    return {path for path in container.devices() if path.startswith("/dev/rbln")}


def prepared_claims(driver: DaemonSet) -> Sequence[PreparedClaim]:
    """The claims that are prepared, as the plugin's status has them."""
    return driver.status().pools[NPU].claims


def failed_prepares(bench: Bench) -> list[str]:
    """What kubelets said of claims that they could not prepare."""
    path = "/api/v1/namespaces/default/events?fieldSelector=reason%3D" + FAILED
    return [str(one["message"]) for one in bench.cluster.api.call("GET", path)["items"]]
