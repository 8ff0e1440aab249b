"""What a container is told of network functions beyond what the recorded cases have."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.sim.device import Rdma, SimDevice, Subfunction, Vdpa
from tests.sim.node import SimNode
from tests.sim.rpc import code_of
from tests.sim.stack import Stack
from tests.system.scene import allocatable, config, details_of, eventually, pool_status, served

pytestmark = pytest.mark.system

PF = "0000:03:00.0"
VDPA, VIRTIO, RDMA, MIGRATING, TAP = (f"0000:03:00.{n}" for n in range(2, 7))
SF = "mlx5_core.sf.4"


def vf(bdf: str, number: int, driver: str = "mlx5_core", **rest: Any) -> SimDevice:  # noqa: ANN401
    return SimDevice(bdf, "15b3", "101e", "020000", driver, pf=PF, iommu=60 + number, **rest)


def build(node: SimNode) -> None:
    sf = Subfunction(SF, 4, ("en3f0s4",), Rdma("mlx5_4", 4))
    node.add(
        SimDevice(
            PF, "15b3", "101d", "020000", "mlx5_core", net=("p0",), totalvfs=8, iommu=60, sfs=(sf,)
        ),
        vf(VDPA, 2, vdpa=Vdpa("vdpa2", n=7)),
        vf(VIRTIO, 3, vdpa=Vdpa("vdpa3", "virtio_vdpa")),
        vf(RDMA, 4, rdma=Rdma("mlx5_9", 9)),
        vf(MIGRATING, 5, driver="mlx5_vfio_pci"),
        vf(TAP, 6),
    )
    node.add_dev_node("vhost-net")
    node.add_dev_node("net/tun")


def pool(name: str, device_type: str = "netDevice", **selectors: object) -> dict[str, object]:
    return {
        "resourceName": name,
        "resourcePrefix": "nvidia.com",
        "deviceType": device_type,
        "selectors": selectors,
        "additionalInfo": {"*": {"a": "all", "b": "all"}, PF: {"b": "parent"}, SF: {"c": "own"}},
    }


POOLS = config(
    pool("vdpa", vdpaType="vhost"),
    pool("virtio", vdpaType="virtio"),
    pool("rdma", pciAddresses=[RDMA], isRdma=True),
    pool("migrating", pciAddresses=[MIGRATING]),
    pool("tap", pciAddresses=[TAP], needVhostNet=True),
    pool("sf", "auxNetDevice", auxTypes=["sf"], isRdma=True, needVhostNet=True),
)
NAMES = tuple(f"nvidia.com/{name}" for name in ("vdpa", "virtio", "rdma", "migrating", "tap", "sf"))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(POOLS, build) as stack:
        served(stack, *NAMES)
        yield stack


def given(stack: Stack, pool: str, device: str) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The nodes' host paths and what the ``_INFO`` variable says."""
    name = f"nvidia.com/{pool}"
    (answer,) = stack.kubelet.allocate(name, [[device]]).container_responses
    info = json.loads(answer.envs[f"PCIDEVICE_NVIDIA_COM_{pool.upper()}_INFO"])
    return [node.host_path for node in answer.devices], info[device]


def device_info(stack: Stack, pool: str, device: str) -> dict[str, object]:
    folder = stack.root / "var/run/k8s.cni.cncf.io/devinfo/dp"
    told: dict[str, object] = json.loads(
        (folder / f"nvidia.com-{pool}-{device}-device.json").read_text()
    )
    return told


def test_vdpa_for_user_space(stack: Stack) -> None:
    nodes, info = given(stack, "vdpa", VDPA)
    assert nodes == ["/dev/vhost-vdpa-7"]
    assert info["vdpa"] == {"mount": "/dev/vhost-vdpa-7"}
    assert device_info(stack, "vdpa", VDPA)["vdpa"] == {
        "parent-device": "vdpa2",
        "driver": "vhost",
        "path": "/dev/vhost-vdpa-7",
        "pci-address": VDPA,
    }


def test_vdpa_for_the_kernel(stack: Stack) -> None:
    nodes, info = given(stack, "virtio", VIRTIO)
    assert nodes == []
    assert info["vdpa"] == {}
    assert device_info(stack, "virtio", VIRTIO)["vdpa"] == {
        "parent-device": "vdpa3",
        "driver": "virtio",
        "pci-address": VIRTIO,
    }


def test_a_variant_of_vfio_pci(stack: Stack) -> None:
    nodes, info = given(stack, "migrating", MIGRATING)
    assert nodes == ["/dev/vfio/vfio", "/dev/vfio/65"]
    assert info["generic"] == {"deviceID": MIGRATING}


def test_a_subfunction_has_additional_info_and_vhost_net(stack: Stack) -> None:
    nodes, info = given(stack, "sf", SF)
    assert nodes[-2:] == ["/dev/vhost-net", "/dev/net/tun"]
    assert info["extra"] == {"a": "all", "b": "parent", "c": "own"}
    assert info["rdma"]["rdma_dev"] == "mlx5_4"


def test_vhost_net_is_had_whole_or_not_at_all(stack: Stack) -> None:
    nodes, info = given(stack, "tap", TAP)
    assert nodes == ["/dev/vhost-net", "/dev/net/tun"]
    assert info["vhost"] == {"net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun"}
    stack.node.remove_dev_node("net/tun")
    allocatable(stack, "nvidia.com/tap", 0)
    seen = pool_status(stack, "nvidia.com/tap", lambda s: s.devices[TAP].reason, what="a reason")
    assert seen.devices[TAP].reason == "/dev/net/tun does not exist"
    stack.node.add_dev_node("net/tun")
    allocatable(stack, "nvidia.com/tap", 1)


def test_an_rdma_device_that_a_pod_has_is_healthy_and_not_given_out_again(stack: Stack) -> None:
    nodes, info = given(stack, "rdma", RDMA)
    assert nodes[-1] == "/dev/infiniband/rdma_cm"
    assert info["rdma"]["rdma_dev"] == "mlx5_9"
    assert device_info(stack, "rdma", RDMA)["pci"] == {
        "pci-address": RDMA,
        "rdma-device": "mlx5_9",
    }
    messages = len(stack.kubelet.messages("nvidia.com/rdma"))
    home = stack.node.home(RDMA)
    aside = stack.root / "aside"
    stack.node.tree.at(f"{home}/infiniband").rename(aside)
    stack.node.remove_dev_node("infiniband/uverbs9")

    def refused() -> str:
        try:
            stack.kubelet.allocate("nvidia.com/rdma", [[RDMA]])
        except grpc.RpcError as error:
            return f"{code_of(error)} {details_of(error)}"
        return ""

    eventually(refused, what="a refusal")
    assert refused().startswith("FAILED_PRECONDITION")
    assert "it has no RDMA device here" in refused()
    assert len(stack.kubelet.messages("nvidia.com/rdma")) == messages
    aside.rename(stack.node.tree.at(f"{home}/infiniband"))
    stack.node.add_dev_node("infiniband/uverbs9")
    eventually(lambda: not refused(), what="the device is had again")
    assert given(stack, "rdma", RDMA) == (nodes, info)
