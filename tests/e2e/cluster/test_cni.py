"""A NIC whose interface a real CNI plugin moves into a pod stays in its pool.

Multus (built from its Go module) reads which device the kubelet gave, and calls Debian's
host-device with it; the interface is one end of a veth pair.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Final

import msgspec
import pytest

from tests.e2e import packages
from tests.e2e.cluster.api import Object
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import (
    CONFIG_MAP,
    NAME,
    NAMESPACE,
    DaemonSet,
    overlay,
)
from tests.e2e.cluster.history import History
from tests.e2e.cluster.images import IMAGE
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Container, Pod, given
from tests.e2e.cluster.setting import at_least
from tests.sim.device import SimDevice
from tests.system.scene import config

NIC: Final = "example.com/nic"
BDF: Final = "0000:41:00.0"
INTERFACE: Final = "rbe-nic"
PEER: Final = "rbe-peer"
NETWORK: Final = "nics"
GROUP: Final = "k8s.cni.cncf.io"
ANNOTATIONS: Final = "k8s.v1.cni.cncf.io"
POOL: Final[Object] = {
    "resourceName": "nic",
    "resourcePrefix": "example.com",
    "deviceType": "netDevice",
    "selectors": {"vendors": ["15b3"]},
}
CRD: Final[Object] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"network-attachment-definitions.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {
            "plural": "network-attachment-definitions",
            "singular": "network-attachment-definition",
            "kind": "NetworkAttachmentDefinition",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"config": {"type": "string"}},
                            }
                        },
                    }
                },
            }
        ],
    },
}
ATTACHMENT: Final[Object] = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "NetworkAttachmentDefinition",
    "metadata": {
        "name": NETWORK,
        "namespace": "default",
        "annotations": {f"{ANNOTATIONS}/resourceName": NIC},
    },
    "spec": {"config": json.dumps({"cniVersion": "0.4.0", "type": "host-device", "name": NETWORK})},
}


def links() -> set[str]:
    """The host's network interfaces."""
    shown = subprocess.run(["ip", "-json", "link"], capture_output=True, text=True, check=True)
    return {each["ifname"] for each in json.loads(shown.stdout)}


@pytest.fixture(scope="module")
def nic(node: HostNode) -> Iterator[str]:
    """A NIC whose interface is real."""
    words = ("ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", PEER)
    subprocess.run(words, check=True)
    subprocess.run(["ip", "link", "set", PEER, "up"], check=True)
    node.add(
        SimDevice(
            bdf=BDF, vendor="15b3", device="1017", code="020000", driver="mlx5_core",
            net=(INTERFACE,),
        )
    )  # fmt: skip
    yield BDF
    node.remove(BDF)
    subprocess.run(["ip", "link", "delete", PEER], check=False)


@pytest.fixture(scope="module")
def multus(cluster: Cluster, uninstalled: DaemonSet) -> Iterator[None]:
    """Multus as the node's CNI plugin, with the suite's own network behind it."""
    folder = cluster.places.state / "network"
    default = json.loads((folder / "10-e2e.conflist").read_text())
    settings = {
        "cniVersion": "0.4.0",
        "name": "multus",
        "type": "multus",
        "kubeconfig": str(cluster.places.state / "kubeconfig"),
        "confDir": str(folder / "more"),
        "cniDir": str(folder / "multus"),
        "binDir": str(packages.file("containernetworking-plugins", "/loopback").parent),
        "delegates": [{"name": default["name"], "cniVersion": "0.4.0", **default["plugins"][0]}],
    }
    file = folder / "00-multus.conf"
    uninstalled.kubectl("apply", "--filename", "-", stdin=json.dumps(CRD))
    uninstalled.kubectl(
        *("wait", "--for", "condition=Established", "--timeout", "30s"),
        f"crd/{CRD['metadata']['name']}",
    )
    uninstalled.kubectl("apply", "--filename", "-", stdin=json.dumps(ATTACHMENT))
    file.write_text(json.dumps(settings))
    yield
    file.unlink()


@pytest.fixture(scope="module")
def with_nics(
    nic: str, multus: None, uninstalled: DaemonSet, cluster: Cluster, history: History
) -> DaemonSet:
    folder = cluster.places.state / "nics"
    folder.mkdir()
    (folder / "config.json").write_bytes(msgspec.json.encode(config(POOL)))
    overlay(folder, base="base", configMapGenerator=[CONFIG_MAP])
    uninstalled.wait_ready(since=uninstalled.apply(folder))
    history.wait_for(NIC, 1, 1)
    return uninstalled


class NetworkPod(Pod):
    """A pod with a network of its own and the NIC in it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        manifest: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": {f"{ANNOTATIONS}/networks": NETWORK}},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "c",
                        "image": IMAGE,
                        "imagePullPolicy": "Never",
                        "resources": {"limits": {NIC: "1"}},
                    }
                ],
            },
        }
        self._create(cluster, manifest)


def interfaces(container: Container) -> set[str]:
    """The network interfaces of a container."""
    shown = container.run("ip", "-o", "link")
    return {line.split(": ")[1].partition("@")[0] for line in shown.splitlines()}


@pytest.mark.by_release
def test_a_nic_in_a_pod_stays_in_its_pool(
    with_nics: DaemonSet, cluster: Cluster, bench: Bench
) -> None:
    with NetworkPod(cluster, "nic-1") as pod:
        container = pod.running()
        assert given(container, NIC) == [BDF]
        assert "net1" in interfaces(container)
        assert INTERFACE not in links()
        # An update moves an older kubelet's count for a moment (tests/e2e/cluster/test_update.py).
        with bench.untouched(container, resources=(NIC,) if at_least(37) else ()):
            with_nics.kubectl("rollout", "restart", f"daemonset/{NAME}", "-n", NAMESPACE)
            with_nics.wait(with_nics.is_observed, what="the update has begun")
            with_nics.wait_ready(since=bench.began)
            with_nics.ctl("rescan")
            pid = with_nics.status().supervisor.pid
            assert with_nics.run("sh", "-c", f"kill -9 {pid}").returncode == 0
            with_nics.wait(
                lambda: (
                    with_nics.run("rbln-ctl", "probe", "ready").returncode == 0
                    and with_nics.status().supervisor.pid != pid
                ),
                what="another supervisor serves",
            )
            with_nics.ctl("rescan")
            assert list(with_nics.status().pools[NIC].devices) == [BDF]
    with_nics.wait(lambda: INTERFACE in links(), what="the interface is back")
    with NetworkPod(cluster, "nic-2") as again:
        container = again.running()
        assert given(container, NIC) == [BDF]
        assert "net1" in interfaces(container)
    bench.report.add(
        "a NIC whose interface Multus and host-device move into a pod",
        "it stays in its pool over an update, a killed supervisor and rescans, and is given out "
        "again afterwards",
        again.seconds,
    )
