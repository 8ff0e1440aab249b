"""An IOMMU group that two functions share, and the nodes that VMMs with iommufd want of them.

The functions lie behind a bridge to conventional PCI: the IOMMU sees the bridge's ID in requests of
both.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import grpc
import pytest

from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import Note, explained, reason
from tests.e2e.kernel.listening import Listening
from tests.e2e.kernel.pools import KERNEL_DRIVER, SHARED
from tests.e2e.kernel.told import AWAY, HEALTHY, UNHEALTHY, Told, heard
from tests.sim.system import System

pytestmark = pytest.mark.by_kernel

IOMMU = "/dev/iommu"


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """The two that share a group; on their own driver, then and after."""
    first, second = pci.of_product(pci.VIRTIO_VENDOR, pci.VIRTIO_DISK_OLD)
    yield first, second
    for address in (first, second):
        if pci.driver(address) != KERNEL_DRIVER:
            pci.rebind(address, KERNEL_DRIVER)


def test_a_neighbour_with_a_host_driver_keeps_the_group_from_virtual_machines(
    system: System, pair: tuple[str, str], listening: Listening, note: Note
) -> None:
    mine, neighbour = pair
    group = pci.group(mine)
    assert group == pci.group(neighbour)
    pci.bind(mine, "vfio-pci")
    heard(system.kubelet, SHARED, mine, UNHEALTHY)
    why = f"its IOMMU group {group} is not viable: {neighbour} is bound to {KERNEL_DRIVER}"
    assert reason(system, SHARED, mine, "viable") == why
    assert not pci.viable(group)
    with pytest.raises(OSError), pci.in_use(mine):  # noqa: PT011 - which one is the kernel's affair
        pass
    with pytest.raises(grpc.RpcError, match="is not viable"):
        system.kubelet.allocate(SHARED, [[mine]])

    told = Told(system.kubelet, SHARED)
    began = monotonic()
    pci.unbind(neighbour)
    unbound = listening.last("unbind", neighbour, began)
    rose = heard(system.kubelet, SHARED, mine, HEALTHY)
    assert pci.viable(group)
    with pci.in_use(mine):
        pass
    system.kubelet.allocate(SHARED, [[mine]])
    note("a neighbour in the IOMMU group is unbound", "viable, Healthy", rose - unbound)

    began = monotonic()
    pci.rebind(neighbour, KERNEL_DRIVER)
    bound = listening.last("bind", neighbour, began)
    fell = heard(system.kubelet, SHARED, mine, UNHEALTHY)
    assert not pci.viable(group)
    note("… and bound to a host driver again", f"Unhealthy: {why}", fell - bound)

    pci.bind(neighbour, "vfio-pci")
    for address in pair:
        heard(system.kubelet, SHARED, address, HEALTHY)
    assert pci.viable(group)
    assert told.ways(SHARED)[mine] == (UNHEALTHY, HEALTHY, UNHEALTHY, HEALTHY)
    shared = f"its IOMMU group {group} also has"
    assert any(shared in line for line in explained(system, mine).notes)


def test_iommufds_nodes_are_given_where_the_kernel_has_them(
    system: System, pair: tuple[str, str], note: Note
) -> None:
    for address in pair:
        heard(system.kubelet, SHARED, address, AWAY)
        pci.bind(address, "vfio-pci")
    for address in pair:
        heard(system.kubelet, SHARED, address, HEALTHY)
    device, group = pair[0], pci.group(pair[0])
    node = pci.character_device(device)
    has_both = node is not None and Path(IOMMU).exists()

    began = monotonic()
    (answer,) = system.kubelet.allocate(SHARED, [[device]]).container_responses
    took = monotonic() - began
    paths = ["/dev/vfio/vfio", f"/dev/vfio/{group}"]
    paths += [f"{node}", IOMMU] if has_both else []
    assert [one.host_path for one in answer.devices] == paths
    info = json.loads(answer.envs["PCIDEVICE_REBELLIONS_AI_SHARED_INFO"])[device]
    if has_both:
        assert info["iommufd"] == {"mount": IOMMU, "dev-mount": f"{node}"}
        pci.bind_iommufd(f"{node}", IOMMU)
        note("Allocate with iommufd", f"{node} and {IOMMU}: the device can be had by them", took)
    else:
        assert "iommufd" not in info
        note("Allocate with iommufd", "this kernel has no node for it: the group's alone", took)
