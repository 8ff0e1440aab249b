"""The hardware: what there is to discover, bind, unplug, and on which NUMA node."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

MEMORY_MIB: Final = 1536
NUMA_NODES: Final = 2

VFS: Final = 4
"""How many virtual functions a PF can have."""
ACCELERATOR: Final = {
    "driver": "virtio-blk-pci",
    "class": 0x1200,  # base class and subclass
    "drive": "nothing",
    "share-rw": True,  # all of them have the same empty disk
}
"""What QEMU is told of a device that says it is a processing accelerator."""
NETWORK_PF: Final = {"driver": "igb", "romfile": ""}
"""What QEMU is told of a network card with SR-IOV (up to 7 VFs); nothing boots from it."""
NETWORK_NAME: Final = "net"
"""QEMU's name of those that are there from the start; their NUMA node follows."""
VIRTIO_NIC: Final = {"driver": "virtio-net-pci", "romfile": ""}
"""A network card whose interface lies below a child of its function (``virtio0``)."""
NEIGHBOURS: Final = 2
"""Virtio disks behind a bridge to conventional PCI: they share an IOMMU group."""
SWITCH_PORTS: Final = ("port0", "port1")
"""QEMU's names of what the ports of the switch are connected to."""
SLOTS: Final = ("slot0", "slot1")
"""Empty ones."""


class Wires(NamedTuple):
    """What connects the machine with the outside."""

    console: Path
    """A file for the kernel's own messages."""
    output: int
    """A descriptor: where the guest's words go."""
    monitor: int
    """A descriptor of a socket: QEMU's monitor."""
    port: int
    """A descriptor of a socket: the guest's end of the monitor."""
    share: Path
    """A folder that the guest can write to."""


def arguments(
    kernel: Path, initramfs: Path, wires: Wires, *, network: bool, switch: bool
) -> tuple[str, ...]:
    """Return QEMU's arguments, without its name.

    Args:
        kernel: a file to boot.
        initramfs: its first root.
        wires: what connects the machine with the outside.
        network: it has network cards with SR-IOV.
        switch: it has a switch whose ports are given as a list.
    """
    return (
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        # KVM inside of a VM of somebody else's can hang where it looks present.
        *("-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35,kernel-irqchip=split"),
        *("-m", str(MEMORY_MIB), "-smp", str(NUMA_NODES)),
        *("-kernel", str(kernel), "-initrd", str(initramfs), "-append", " ".join(_kernel_words())),
        *_files("host", Path("/"), readonly=True),
        *_files("share", wires.share, readonly=False),
        *_talk(wires),
        *_pci(),
        *(_network() if network else ()),
        *(_switch() if switch else ()),
    )


def _kernel_words() -> Sequence[str]:
    """Kernel parameters: the IOMMU, messages where we keep them, and no wait that can be spared."""
    return (
        *("intel_iommu=on", "console=ttyS0", "panic=-1", "quiet", "loglevel=4"),
        *("mitigations=off", "nokaslr", "audit=0", "cryptomgr.notests", "no_timer_check"),
        *("random.trust_cpu=on", "rcupdate.rcu_expedited=1"),
    )


def _files(tag: str, path: Path, *, readonly: bool) -> Iterator[str]:
    yield from (
        "-fsdev",
        # Inode numbers of several file systems meet below one mount: remap keeps them apart.
        f"local,id={tag},path={path},security_model=none,multidevs=remap,"
        f"readonly={'on' if readonly else 'off'}",
    )
    yield from ("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}")


def _talk(wires: Wires) -> Iterator[str]:
    yield from ("-serial", f"file:{wires.console}")
    yield from ("-device", "virtio-serial-pci,id=serial")
    yield from ("-chardev", f"file,id=output,path=/proc/self/fd/{wires.output}")
    yield from ("-device", "virtserialport,bus=serial.0,chardev=output,name=output")
    # The guest commands the machine that it runs on: a port of it is wired to the monitor.
    yield from ("-chardev", f"socket,id=monitor,fd={wires.monitor}")
    yield from ("-mon", "chardev=monitor,mode=control")
    yield from ("-chardev", f"socket,id=port,fd={wires.port}")
    yield from ("-device", "virtserialport,bus=serial.0,chardev=port,name=qmp")


def _pci() -> Iterator[str]:
    """On each NUMA node an NVMe controller with SR-IOV and an accelerator; SLOTS on none.

    No device of QEMU's is an accelerator; a virtio disk can call itself one, and can't have VFs.
    The NVMe controllers' queue numbers are those that so many VFs need (QEMU,
    docs/system/devices/nvme.rst). The slots are the main bus's: there, ACPI unplugs in an instant;
    a PCIe port of its own waits five seconds for somebody to press its button once more.
    """
    yield from ("-device", "intel-iommu,intremap=on,caching-mode=on")
    yield from ("-blockdev", "null-co,node-name=nothing,read-zeroes=on")
    for node in range(NUMA_NODES):
        size = MEMORY_MIB // NUMA_NODES
        yield from ("-object", f"memory-backend-ram,id=memory{node},size={size}M")
        yield from ("-numa", f"node,nodeid={node},memdev=memory{node},cpus={node}")
        bus = 64 * (node + 1)
        yield from ("-device", f"pxb-pcie,id=bus{node},bus_nr={bus},numa_node={node},bus=pcie.0")
        yield from _port(f"pf-port{node}", f"bus{node}", 10 + node)
        yield from ("-device", f"nvme-subsys,id=subsystem{node}")
        yield from (
            "-device",
            f"nvme,id=pf{node},bus=pf-port{node},serial=pf{node},subsys=subsystem{node},"
            f"sriov_max_vfs={VFS},sriov_vq_flexible={2 * VFS},sriov_vi_flexible={VFS},"
            f"max_ioqpairs={2 * VFS + 2},msix_qsize={2 * VFS + 1}",
        )
        yield from _port(f"numa-slot{node}", f"bus{node}", 20 + node)
        accelerator = {**ACCELERATOR, "id": f"accelerator{node}", "bus": f"numa-slot{node}"}
        yield from ("-device", json.dumps(accelerator))
    for number, name in enumerate(SLOTS):
        yield from _port(name, "pcie.0", 30 + number)
    yield from _port("bridge-port", "pcie.0", 50)
    yield from ("-device", "pcie-pci-bridge,id=bridge,bus=bridge-port")
    for number in range(NEIGHBOURS):
        disk = {**ACCELERATOR, "id": f"neighbour{number}", "bus": "bridge", "addr": f"{number + 1}"}
        yield from ("-device", json.dumps(disk))


def _network() -> Iterator[str]:
    """A network card on each NUMA node. No wire leads from any; their links are up all the same."""
    for node in range(NUMA_NODES):
        yield from _port(f"net-port{node}", f"bus{node}", 40 + node)
        card = {**NETWORK_PF, "id": f"{NETWORK_NAME}{node}", "bus": f"net-port{node}"}
        yield from ("-device", json.dumps(card))


def _switch() -> Iterator[str]:
    """One function with an interface for each port of a switch; they are named p1 and p2."""
    for name in SWITCH_PORTS:
        yield from ("-netdev", f"hubport,id={name},hubid=1")
    switch = {"driver": "rocker", "name": "", "ports": SWITCH_PORTS, "bus": "pcie.0"}
    yield from ("-device", json.dumps(switch))


def _port(name: str, bus: str, number: int) -> Iterator[str]:
    yield from ("-device", f"pcie-root-port,id={name},bus={bus},chassis={number},slot={number}")
