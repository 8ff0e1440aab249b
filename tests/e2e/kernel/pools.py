"""The resource pools of the VM, one configuration for all tests."""

from typing import Final

from tests.e2e.kernel import net, pci
from tests.system.scene import config, pool

KERNEL_DRIVER: Final = "virtio-pci"
"""Of the accelerators: virtio_blk is bound to a device below theirs, on the virtio bus."""

KERNEL: Final = "rebellions.ai/KERNEL"
"""Accelerators on their own driver."""
VM: Final = "rebellions.ai/VM"
"""Accelerators on vfio-pci."""
SHARED: Final = "rebellions.ai/SHARED"
"""Those behind the bridge on vfio-pci, with what iommufd wants."""
NICS: Final = "rebellions.ai/NICS"
"""Virtio network cards."""
SWITCH: Final = "rebellions.ai/SWITCH"
"""A function with several interfaces."""
LINKED: Final = "rebellions.ai/LINKED"
"""The PF whose interface is up, while it has no VFs."""
LINKED_VFS: Final = "rebellions.ai/LINKED_VFS"
"""Its VFs."""
CARDS: Final = "rebellions.ai/CARDS"
"""All other network PFs, while they have no VFs."""
DPDK: Final = "rebellions.ai/DPDK"
"""VFs on vfio-pci, whosever."""
VFS: Final = "rebellions.ai/VFS"
"""VFs of the other PF that is there from the start."""
RENAMED: Final = "rebellions.ai/RENAMED"
"""VFs of a PF that has another name."""
OTHERS: Final = "rebellions.ai/OTHERS"
"""VFs of all other PFs."""

OTHER_NAME: Final = "uplink"
QUICK: Final = {"repeatSeconds": 0.05, "maxSeconds": 0.05}
"""These tests take devices away more often than is forgiven to hardware that flaps."""


def _network(name: str, product: str, **selectors: list[str]) -> dict[str, object]:
    """Only the pools that are about links go by them: igb resets its card to have VFs."""
    linked = name in {LINKED, LINKED_VFS}
    return pool(
        name.partition("/")[2],
        deviceType="netDevice",
        selectors={"vendors": [net.INTEL], "devices": [product], **selectors},
        health={} if linked else {"linkState": False, "probation": QUICK},
    )


def _accelerators(
    name: str, driver: str, product: str = pci.VIRTIO_DISK, *, iommufd: bool = False
) -> dict[str, object]:
    return pool(
        name.partition("/")[2],
        vendors=[pci.VIRTIO_VENDOR],
        devices=[product],
        drivers=[driver],
        health={"probation": QUICK},
        iommufd=iommufd,
    )


def nics_pool() -> dict[str, object]:
    """Return the pool of virtio network cards, which goes by their links."""
    return pool(
        NICS.partition("/")[2],
        deviceType="netDevice",
        selectors={"vendors": [pci.VIRTIO_VENDOR], "linkTypes": ["ether"]},
        health={"probation": QUICK},
    )


def _switch() -> dict[str, object]:
    return pool(
        SWITCH.partition("/")[2],
        deviceType="netDevice",
        selectors={"vendors": [pci.QEMU_VENDOR], "devices": [net.SWITCH]},
        health={"probation": QUICK},
    )


def configuration(linked: str | None) -> dict[str, object]:
    """The file; ``linked`` is the address of the PF whose interface is up, if there is one."""
    first = [] if linked is None else [_network(LINKED, net.PF, pciAddresses=[linked])]
    return config(
        _accelerators(KERNEL, KERNEL_DRIVER),
        _accelerators(VM, "vfio-pci"),
        _accelerators(SHARED, "vfio-pci", pci.VIRTIO_DISK_OLD, iommufd=True),
        nics_pool(),
        _switch(),
        *first,
        _network(LINKED_VFS, net.VF, pfNames=[net.LINKED]),
        _network(CARDS, net.PF),
        _network(DPDK, net.VF, drivers=["vfio-pci"]),
        _network(VFS, net.VF, pfNames=[net.QUIET]),
        _network(RENAMED, net.VF, pfNames=[OTHER_NAME]),
        _network(OTHERS, net.VF),
    )
