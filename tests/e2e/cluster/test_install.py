"""Every overlay, component and sample of values, applied as docs/install.md says."""

import base64
from collections.abc import Mapping
from typing import Final

import pytest

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster, checkpoint_entries
from tests.e2e.cluster.daemonset import CONFIG_MAP, DaemonSet, overlay
from tests.e2e.cluster.dra.claims import Claims
from tests.e2e.cluster.dra.deployed import CLASS, npu_paths, paths_of
from tests.e2e.cluster.dra.objects import request
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Container, given
from tests.e2e.cluster.setting import NODE
from tests.manifests.objects import CHART, KUSTOMIZE, NAMES
from tests.system.scene import ATOM

NODE_PATH: Final = f"/api/v1/nodes/{NODE}"
NPU_LABEL: Final = "feature.node.kubernetes.io/pci-1eff.present"
WANTED: Final[Mapping[str, Mapping[str, int]]] = {"vfio": {"rebellions.ai/ATOM_VM": 1}}
"""What a pod asks for, by overlay, where that isn't NPUs."""

VALUES: Final = ("", *sorted(path.stem for path in (CHART / "values").iterdir()))


def by_release(name: str) -> object:
    """A parameter; an older release is asked for the default and for DRA, which differ there."""
    marks = [pytest.mark.by_release] if name in {"", "npu", "dra"} else []
    return pytest.param(name, marks=marks)


@pytest.fixture(autouse=True)
def removed(uninstalled: DaemonSet) -> None:
    """Each test begins without an installation."""
    uninstalled.remove()


def device_paths(node: HostNode, container: Container) -> set[str]:
    """The NPU nodes that a container has to have, by the IDs in its variable."""
    return {f"/dev/{node.devices[bdf].rbln}" for bdf in given(container, ATOM)}


def serves(bench: Bench, node: HostNode, name: str, claims: Claims) -> str:
    """A pod with devices of an overlay runs; what it has, for the report."""
    if name == "dra":
        return serves_claims(node, claims)
    limits = WANTED.get(name, {ATOM: 2})
    container = bench.pod(limits, scheduled=True).running()
    (resource,) = limits
    assert len(given(container, resource)) == limits[resource]
    if resource == ATOM:
        has = {path for path in container.devices() if path.startswith("/dev/rbln")}
        assert has == device_paths(node, container)
    return f"Ready; a pod with {limits[resource]} of {resource} runs with its nodes"


def serves_claims(node: HostNode, claims: Claims) -> str:
    """A pod with a claim of the shipped DeviceClass runs; what it has, for the report."""
    claim = claims.claim(request("npus", CLASS, 2))
    container = claims.pod(claim=claim).running()
    assert npu_paths(container) == paths_of(node, claims.devices(claim))
    return f"Ready; a pod with a claim of 2 of {CLASS} runs with its nodes"


@pytest.mark.parametrize("name", [*map(by_release, NAMES)])
def test_an_unchanged_overlay_becomes_ready(
    uninstalled: DaemonSet, bench: Bench, claims: Claims, node: HostNode, name: str
) -> None:
    since = uninstalled.apply(KUSTOMIZE / "overlays" / name)
    seconds = uninstalled.wait_ready(since=since)
    seen = serves(bench, node, name, claims)
    bench.report.add(f"kubectl apply -k overlays/{name}", seen, seconds)


def test_devices_by_cdi(uninstalled: DaemonSet, bench: Bench, node: HostNode) -> None:
    uninstalled.wait_ready(since=uninstalled.apply(KUSTOMIZE / "overlays/cdi"))
    pod = bench.pod({ATOM: 2}, scheduled=True)
    container = pod.running()
    nodes = container.devices()
    assert {path for path in nodes if path.startswith("/dev/rbln")} == device_paths(node, container)
    for path in device_paths(node, container):
        assert nodes[path] == node.number(path)
    uid = pod.uid
    (entry,) = [entry for entry in checkpoint_entries() if entry["PodUID"] == uid]
    answer = pb.ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"]))
    assert not answer.devices
    assert len(answer.cdi_devices) == 2
    bench.report.add(
        "pod with 2 NPUs by --use-cdi",
        "Allocate names CDI devices only; containerd makes the same nodes from the plugin's spec",
    )


@pytest.mark.parametrize("name", ["cdi", "net-admin", "nfd", "selinux"])
def test_a_component_becomes_ready(
    uninstalled: DaemonSet,
    bench: Bench,
    claims: Claims,
    cluster: Cluster,
    node: HostNode,
    name: str,
) -> None:
    folder = overlay(cluster.places.state / f"with-{name}", base="base", components=(name,))
    since = uninstalled.apply(folder)
    if name == "nfd":
        uninstalled.wait(uninstalled.is_observed, what="the DaemonSet was looked at")
        assert uninstalled.pods() == []
        cluster.api.merge(NODE_PATH, {"metadata": {"labels": {NPU_LABEL: "true"}}})
    seconds = uninstalled.wait_ready(since=since)
    seen = serves(bench, node, name, claims)
    if name == "net-admin":
        done = uninstalled.run("sh", "-c", "grep CapEff /proc/1/status")
        assert done.stdout.split()[-1] == f"{1 << 12:016x}"
    bench.report.add(f"overlay of the base with components/{name}", seen, seconds)


@pytest.mark.parametrize("name", [*map(by_release, VALUES)])
def test_the_chart_becomes_ready(
    uninstalled: DaemonSet, bench: Bench, claims: Claims, node: HostNode, name: str
) -> None:
    values = ("--values", CHART / "values" / f"{name}.yaml") if name else ()
    since = uninstalled.helm("install", *values)
    seconds = uninstalled.wait_ready(since=since)
    seen = serves(bench, node, name, claims)
    bench.report.add(f"helm install{' --values values/' + name if name else ''}", seen, seconds)


def test_a_users_own_overlay_with_a_configuration_of_their_own(
    uninstalled: DaemonSet, bench: Bench, cluster: Cluster
) -> None:
    folder = cluster.places.state / "own"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text((KUSTOMIZE / "overlays/vfio/config.json").read_text())
    overlay(folder, base="overlays/npu", configMapGenerator=[CONFIG_MAP])
    uninstalled.wait_ready(since=uninstalled.apply(folder))
    assert list(uninstalled.status().pools) == ["rebellions.ai/ATOM_VM"]
