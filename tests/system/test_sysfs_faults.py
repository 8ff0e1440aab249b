"""Files of the node that are missing, empty or nonsense: one device suffers, nobody else."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.stack import Stack
from tests.system.scene import allocatable, config, pool, served, texts

pytestmark = pytest.mark.system

NPU: Final = "rebellions.ai/NPU"
SOUND: Final = "rebellions.ai/SOUND"
SOUND_BDF: Final = "0000:01:00.0"


class Fault(NamedTuple):
    """What is broken, and what becomes of the device."""

    what: str
    break_it: Callable[[SimNode, str], None]
    left_out: str | None = None
    """The reason for which no pool has the device."""
    unhealthy: str | None = None
    """The reason for which it is listed, Unhealthy."""
    numa: tuple[int, ...] = (1,)
    driver: str = "rebellions"


def attribute(name: str, value: str | bytes | None) -> Callable[[SimNode, str], None]:
    return lambda node, bdf: node.set_attribute(bdf, name, value)


def directory(name: str) -> Callable[[SimNode, str], None]:
    def change(node: SimNode, bdf: str) -> None:
        node.set_attribute(bdf, name, None)
        node.tree.directory(f"{node.home(bdf)}/{name}")

    return change


def link(name: str, target: bytes) -> Callable[[SimNode, str], None]:
    """Not through the tree: what the link leads to need not be there, nor be text."""

    def change(node: SimNode, bdf: str) -> None:
        node.set_attribute(bdf, name, None)
        node.tree.at(f"{node.home(bdf)}/{name}").symlink_to(os.fsdecode(target))

    return change


def without_home(node: SimNode, bdf: str) -> None:
    """The link below /sys/bus/pci/devices leads nowhere."""
    node.tree.remove(node.home(bdf))


def without_node(node: SimNode, bdf: str) -> None:
    rbln = node.devices[bdf].rbln
    assert rbln is not None
    node.remove_dev_node(rbln)


def pools(text: str | None) -> Callable[[SimNode, str], None]:
    return lambda node, bdf: node.set_pools(bdf, text)


HEADER: Final = "poolinfo - 0.1\n"
NO_NAME: Final = "expected a node name such as rbln0, got"

FAULTS: Final = (
    Fault("no modalias", attribute("modalias", None), left_out="modalias: No such file"),
    Fault("empty modalias", attribute("modalias", ""), left_out="modalias: expected a PCI"),
    Fault("garbage modalias", attribute("modalias", b"\xff\x00 12\n"), left_out="modalias: "),
    Fault(
        "modalias cut",
        attribute("modalias", "pci:v00001EFFd00001120sv000000"),
        left_out="modalias: expected a PCI device's, got 'pci:v00001EFF",
    ),
    Fault("modalias a directory", directory("modalias"), left_out="Is a directory"),
    Fault("home missing", without_home, left_out="No such file or directory"),
    Fault("no numa_node", attribute("numa_node", None), numa=()),
    Fault("empty numa_node", attribute("numa_node", ""), numa=()),
    Fault("garbage numa_node", attribute("numa_node", b"\xff\xfe one"), numa=()),
    Fault("numa_node a directory", directory("numa_node"), numa=()),
    Fault("huge numa_node", attribute("numa_node", "9" * 30 + "\n"), numa=()),
    Fault("endless numa_node", attribute("numa_node", "9" * 100_000), numa=()),
    Fault("numa_node -2", attribute("numa_node", "-2\n"), numa=()),
    Fault("driver a directory", directory("driver"), left_out="driver: expected a link"),
    Fault("driver a file", attribute("driver", "rebellions\n"), left_out="driver: expected a link"),
    Fault("driver link dangles", link("driver", b"../../../nowhere/rebellions")),
    Fault("driver no text", link("driver", b"../drivers/\xff\xfe"), left_out="driver: "),
    Fault("config missing", attribute("config", None)),
    Fault("no pools", pools(None), unhealthy="pools: No such file or directory"),
    Fault("empty pools", pools(""), unhealthy="expected a second line"),
    Fault("header only", pools(HEADER), unhealthy="expected a second line"),
    Fault("blank second line", pools(HEADER + "  \n"), unhealthy=NO_NAME),
    Fault("path in pools", pools(HEADER + "../../x 0\n"), unhealthy=f"{NO_NAME} '../../x'"),
    Fault("path below dev", pools(HEADER + "rbln0/../sda 0\n"), unhealthy=NO_NAME),
    Fault("control characters", pools(HEADER + "rbln\x1b[31m 0\n"), unhealthy=r"'rbln\x1b[31m'"),
    Fault("other digits", pools(HEADER + "rbln\u0663 0\n"), unhealthy=NO_NAME),
    Fault("long name", pools(HEADER + "rbln" + "9" * 5000), unhealthy=NO_NAME),
    Fault("pools a directory", directory("pools"), unhealthy="pools: Is a directory"),
    Fault("no node", without_node, unhealthy="does not exist"),
    Fault(
        "no group",
        attribute("iommu_group", None),
        unhealthy="no IOMMU group (iommu_group: No such file or directory)",
        driver="vfio-pci",
    ),
    Fault(
        "group a file",
        attribute("iommu_group", "7\n"),
        unhealthy="no IOMMU group (iommu_group: Invalid argument)",
        driver="vfio-pci",
    ),
    Fault(
        "group no number",
        link("iommu_group", b"../../kernel/iommu_groups/\xff..7"),
        unhealthy="iommu_group: expected a number",
        driver="vfio-pci",
    ),
    Fault(
        "group dangles",
        link("iommu_group", b"../../kernel/iommu_groups/4711"),
        unhealthy="/dev/vfio/4711 does not exist",
        driver="vfio-pci",
    ),
)


def bdf(fault: Fault) -> str:
    return f"0000:{0x20 + FAULTS.index(fault):02x}:00.0"


def build(node: SimNode) -> None:
    node.add(SimDevice(SOUND_BDF, device="1220", rbln="rbln100", numa=1))
    for number, fault in enumerate(FAULTS):
        name = f"rbln{number}" if fault.driver == "rebellions" else None
        iommu = 200 + number if fault.driver == "vfio-pci" else None
        node.add(SimDevice(bdf(fault), driver=fault.driver, numa=1, rbln=name, iommu=iommu))
        fault.break_it(node, bdf(fault))


POOLS: Final = config(
    pool("SOUND", devices=["1220"]), pool("NPU", devices=["1120"], vendors=["1eff"])
)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(POOLS, build) as stack:
        served(stack, SOUND, NPU)
        yield stack


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_one_device_suffers(stack: Stack, fault: Fault) -> None:
    status = stack.status()
    told = status.pools[NPU].devices.get(bdf(fault))
    heard = stack.kubelet.resource(NPU).devices.get(bdf(fault))
    problems = [line for line in texts(status.supervisor.problems) if bdf(fault) in line]
    if fault.left_out is not None:
        assert (told, heard) == (None, None)
        (problem,) = problems
        assert problem.startswith(f"device {bdf(fault)} is left out: ")
        assert fault.left_out in problem
        return
    assert problems == []
    assert told is not None
    assert heard is not None
    assert told.health == heard.health
    assert heard.numa == fault.numa
    assert fault.unhealthy is not None or (heard.health, told.reason) == ("Healthy", "")
    assert fault.unhealthy is None or fault.unhealthy in told.reason
    assert told.reason.isprintable()


def test_the_others_are_served(stack: Stack) -> None:
    status = stack.status()
    assert [seen.worker.restarts for seen in status.pools.values()] == [0, 0]
    sound = sum(fault.left_out is None and fault.unhealthy is None for fault in FAULTS)
    assert stack.kubelet.resource(NPU).allocatable == sound
    (answer,) = stack.kubelet.allocate(SOUND, [[SOUND_BDF]]).container_responses
    assert [device.host_path for device in answer.devices] == ["/dev/rbln100", "/dev/rsd0"]
    assert stack.ctl("status").returncode == 0


def test_no_path_of_a_file_reaches_a_container(stack: Stack) -> None:
    healthy = [
        device
        for device, seen in stack.kubelet.resource(NPU).devices.items()
        if seen.health == "Healthy"
    ]
    (answer,) = stack.kubelet.allocate(NPU, [healthy]).container_responses
    for device in answer.devices:
        assert Path(device.host_path).parent == Path("/dev")
        assert device.host_path == device.container_path


@pytest.mark.parametrize(("product", "healthy"), [("1120", 0), ("2030", 1)])
def test_without_the_groups_node_only_products_that_have_none_are_healthy(
    product: str, healthy: int
) -> None:
    def one(node: SimNode) -> None:
        node.add(SimDevice(SOUND_BDF, device=product, rbln="rbln0"))
        node.remove_dev_node("rsd0")

    with Stack(config(pool("NPU", vendors=["1eff"])), one) as stack:
        stack.kubelet.wait(lambda k: k.messages(NPU), what="a message")
        allocatable(stack, NPU, healthy)
        reason = stack.status().pools[NPU].devices[SOUND_BDF].reason
        assert reason == ("" if healthy else "/dev/rsd0 does not exist")
