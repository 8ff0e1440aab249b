"""Device-info files, letter by letter."""

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId, Grants, Network, PciFunction, Vdpa
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.devinfo import DeviceInfo, device_info
from rbln_worker.core.allocation.host_facts import DirEntries, Fact, HostFacts, Need
from rbln_worker.core.allocation.providers.provider import ProviderInput

BDF = "0000:30:00.0"
NIC = PoolSpec("intel.com", "dpdk_a", "netDevice")
RDMA = DirEntries(f"/sys/bus/pci/devices/{BDF}/infiniband")
VDPA = DirEntries("/sys/bus/vdpa/devices/vdpa2")


def told(
    pool: PoolSpec,
    network: Network,
    grants: Grants,
    facts: dict[Need, Fact] | None = None,
) -> DeviceInfo | None:
    function = PciFunction(Bdf(BDF), "8086", "1889", 2, "iavf", 0, network=network)
    device = Device(DeviceId(BDF), function, grants=grants)
    return device_info(ProviderInput(device, pool, HostFacts(facts)))


PCI = f'{{"type":"pci","version":"1.1.0","pci":{{"pci-address":"{BDF}"'


@pytest.mark.parametrize(
    ("network", "grants", "facts", "text"),
    [
        (Network(), Grants(), {}, PCI + "}}"),
        (
            Network(rdma_capable=True),
            Grants(rdma=True),
            {RDMA: ("mlx5_10", "mlx5_9")},
            PCI + ',"rdma-device":"mlx5_10,mlx5_9"}}',
        ),
        (Network(rdma_capable=True), Grants(rdma=True), {RDMA: ()}, PCI + "}}"),
        (Network(rdma_capable=True), Grants(), {RDMA: ("mlx5_9",)}, PCI + "}}"),
        (Network(vdpa=Vdpa("vdpa2", "vhost")), Grants(), {}, PCI + "}}"),
        (
            Network(vdpa=Vdpa("vdpa2", "vhost")),
            Grants(vdpa="vhost"),
            {VDPA: ("driver", "vhost-vdpa-0")},
            '{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa2","driver":"vhost",'
            f'"path":"/dev/vhost-vdpa-0","pci-address":"{BDF}"}}}}',
        ),
        (
            Network(vdpa=Vdpa("vdpa2", "virtio")),
            Grants(vdpa="virtio"),
            {},
            '{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa2","driver":"virtio",'
            f'"pci-address":"{BDF}"}}}}',
        ),
    ],
)
def test_what_the_file_says(
    network: Network, grants: Grants, facts: dict[Need, Fact], text: str
) -> None:
    assert told(NIC, network, grants, facts) == DeviceInfo(
        f"intel.com-dpdk_a-{BDF}-device.json", text
    )


def test_only_network_functions_have_one_and_no_part_of_its_name_is_a_folder() -> None:
    for device_type in ("accelerator", "auxNetDevice"):
        assert told(PoolSpec("p", "n", device_type), Network(), Grants()) is None
    odd = told(PoolSpec("../a/b", "n", "netDevice"), Network(), Grants())
    assert odd is not None
    assert odd.name == f"..-a-b-n-{BDF}-device.json"
