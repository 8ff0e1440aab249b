"""What a container is told of its devices."""

from collections.abc import Iterator, Sequence

import pytest

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim.device import SimDevice
from tests.sim.kubelet_records import SeenDevice
from tests.sim.node import SimNode
from tests.sim.nodes import npus
from tests.sim.stack import Stack
from tests.system.scene import config, pool, served

pytestmark = pytest.mark.system

FPGA = "0000:e1:00.0"
FPGA_VFIO = "10000:e2:00.0"
NPU = "0000:20:00.0"
OTHER_NPU = "0000:21:00.0"
LONELY = "0000:22:00.0"

ODD = '<a&b> "\\/\u2028\u2029\u00e9\t\n\x01'
ODD_IN_JSON = r'"\u003ca\u0026b\u003e \"\\/\u2028\u2029' + "\u00e9" + r'\t\n\u0001"'


def build(node: SimNode) -> None:
    node.add(
        SimDevice(FPGA, vendor="8086", device="09c4", driver="dfl-pci", numa=1),
        SimDevice(FPGA_VFIO, vendor="8086", device="09c4", driver="vfio-pci", iommu=7),
        *npus(2),
        SimDevice(LONELY, rbln="rbln7", numa=-1),
    )


POOLS = config(
    pool(
        "dfl-1",
        prefix="intel.com",
        vendors=["8086"],
        drivers=["dfl-pci"],
        additionalInfo={
            "*": {"token": "x", "odd": ODD},
            FPGA: {"token": "own"},
            "0000:01:00.0": {"never": "seen"},
        },
    ),
    pool("fpga_vm", prefix="my-org.io", vendors=["8086"], additionalInfo={}),
    pool("NPU", devices=["1120"], pciAddresses=[NPU, OTHER_NPU], additionalInfo={"*": {"a": "b"}}),
    pool("LONELY", pciAddresses=[LONELY]),
)

PLAIN = config(pool("NPU", vendors=["1eff"], pciAddresses=[NPU, OTHER_NPU], excludeTopology=True))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(POOLS, build) as stack:
        served(stack, "intel.com/dfl-1", "my-org.io/fpga_vm", "rebellions.ai/NPU")
        served(stack, "rebellions.ai/LONELY")
        yield stack


def allocate(stack: Stack, name: str, ids: Sequence[str]) -> pb.ContainerAllocateResponse:
    (answer,) = stack.kubelet.allocate(name, [ids]).container_responses
    return answer


def paths(answer: pb.ContainerAllocateResponse) -> list[str]:
    return [device.container_path for device in answer.devices]


def test_a_generic_accelerator_with_additional_info(stack: Stack) -> None:
    answer = allocate(stack, "intel.com/dfl-1", [FPGA])
    extra = f'{{"odd":{ODD_IN_JSON},"token":"own"}}'
    assert dict(answer.envs) == {
        "PCI_RESOURCE_INTEL_COM_DFL-1": FPGA,
        "PCIDEVICE_INTEL_COM_DFL-1": FPGA,
        "PCIDEVICE_INTEL_COM_DFL-1_INFO": (
            f'{{"{FPGA}":{{"extra":{extra},"extraInfo":{extra},'
            f'"generic":{{"deviceID":"{FPGA}"}}}}}}'
        ),
    }
    assert not answer.devices
    assert not answer.mounts
    assert not answer.annotations
    assert stack.kubelet.resource("intel.com/dfl-1").devices == {FPGA: SeenDevice("Healthy", (1,))}


def test_a_generic_accelerator_for_a_virtual_machine(stack: Stack) -> None:
    answer = allocate(stack, "my-org.io/fpga_vm", [FPGA_VFIO])
    assert paths(answer) == ["/dev/vfio/vfio", "/dev/vfio/7"]
    assert {device.permissions for device in answer.devices} == {"rw"}
    assert answer.envs["PCIDEVICE_MY-ORG_IO_FPGA_VM_INFO"] == (
        f'{{"{FPGA_VFIO}":{{"extra":{{}},"extraInfo":{{}},'
        f'"generic":{{"deviceID":"{FPGA_VFIO}"}},'
        '"vfio":{"dev-mount":"/dev/vfio/7","mount":"/dev/vfio/vfio",'
        '"vfio-dev-mount":"/dev/vfio/7","vfio-mount":"/dev/vfio/vfio"}}}'
    )


def test_npus_share_what_is_the_nodes(stack: Stack) -> None:
    answer = allocate(stack, "rebellions.ai/NPU", [OTHER_NPU, NPU])
    assert paths(answer) == ["/dev/rbln0", "/dev/rsd0", "/dev/rbln1"]
    (mount,) = answer.mounts
    assert (mount.host_path, mount.container_path, mount.read_only) == (
        "/usr/local/bin/rbln-stat",
        "/usr/bin/rbln-stat",
        True,
    )
    info = ",".join(
        f'"{bdf}":{{"extra":{{"a":"b"}},"extraInfo":{{"a":"b"}},'
        f'"rebellions":{{"mount":"/dev/{name}"}}}}'
        for bdf, name in ((NPU, "rbln0"), (OTHER_NPU, "rbln1"))
    )
    assert dict(answer.envs) == {
        "PCI_RESOURCE_REBELLIONS_AI_NPU": f"{NPU},{OTHER_NPU}",
        "PCIDEVICE_REBELLIONS_AI_NPU": f"{NPU},{OTHER_NPU}",
        "PCIDEVICE_REBELLIONS_AI_NPU_INFO": f"{{{info}}}",
    }


def test_a_device_asked_for_twice_is_given_once(stack: Stack) -> None:
    answer = allocate(stack, "rebellions.ai/NPU", [NPU, NPU])
    assert answer.envs["PCIDEVICE_REBELLIONS_AI_NPU"] == f"{NPU},{NPU}"
    assert answer.envs["PCIDEVICE_REBELLIONS_AI_NPU_INFO"].count(f'"{NPU}"') == 1
    assert paths(answer) == ["/dev/rbln0", "/dev/rsd0"]
    assert len(answer.mounts) == 1


def test_every_container_gets_an_answer_of_its_own(stack: Stack) -> None:
    name = "rebellions.ai/NPU"
    assert not stack.kubelet.allocate(name, []).container_responses
    none, first, both = stack.kubelet.allocate(
        name, [[], [NPU], [OTHER_NPU, NPU]]
    ).container_responses
    assert dict(none.envs) == {
        "PCI_RESOURCE_REBELLIONS_AI_NPU": "",
        "PCIDEVICE_REBELLIONS_AI_NPU": "",
        "PCIDEVICE_REBELLIONS_AI_NPU_INFO": "{}",
    }
    assert not none.devices
    assert first == allocate(stack, name, [NPU])
    assert both == allocate(stack, name, [NPU, OTHER_NPU])


def test_a_device_without_a_numa_node_has_no_topology(stack: Stack) -> None:
    assert stack.kubelet.resource("rebellions.ai/LONELY").devices == {
        LONELY: SeenDevice("Healthy", ())
    }
    assert stack.status().pools["rebellions.ai/LONELY"].devices[LONELY].numa is None


def test_without_additional_info_there_is_no_section_for_it_and_topology_can_be_left_out() -> None:
    with Stack(PLAIN, build) as stack:
        served(stack, "rebellions.ai/NPU")
        assert allocate(stack, "rebellions.ai/NPU", [NPU]).envs[
            "PCIDEVICE_REBELLIONS_AI_NPU_INFO"
        ] == (f'{{"{NPU}":{{"rebellions":{{"mount":"/dev/rbln0"}}}}}}')
        assert stack.kubelet.resource("rebellions.ai/NPU").devices == {
            NPU: SeenDevice("Healthy", ()),
            OTHER_NPU: SeenDevice("Healthy", ()),
        }
