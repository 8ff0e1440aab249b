"""A simulated node: a directory tree for ``--host-root`` that tests change as hardware would.

Each change is made in the kernel's order (drivers/base/core.c and dd.c, drivers/pci/iov.c): a
function is there before its group and its driver; a driver's link comes before what the driver
makes, and goes before it. On Linux 6.1 in a VM a vfio group's node came up to 9 ms after the link
and went up to 38 ms after it. Device nodes are plain empty files.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from tests.sim import pci
from tests.sim.device import SimDevice, Subfunction, shift
from tests.sim.drivers import parts_of, pools_text
from tests.sim.parts import Parts
from tests.sim.sysfs_net import subfunction
from tests.sim.tree import Tree

RBLN_STAT: Final = "/usr/local/bin/rbln-stat"
"""The tool that comes with the rebellions driver; it stays when the driver goes."""


class SimNode:
    """The files of a node, and what they stand for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Tree(root)
        self._devices: dict[str, SimDevice] = {}
        self._vfs: dict[str, dict[str, int]] = {}
        """VFs with their numbers, by PF."""
        self._nodes: Counter[str] = Counter()
        for path in (pci.DEVICES, pci.DRIVERS, pci.GROUPS, "/sys/class", "/dev", "/proc", "/etc"):
            self.tree.directory(path)

    @property
    def devices(self) -> Mapping[str, SimDevice]:
        """The functions that are there, by PCI address."""
        return self._devices

    def home(self, bdf: str) -> str:
        """The function's directory below /sys, as a path of the host."""
        device = self._devices[bdf]
        pf = self._devices[device.pf] if device.pf is not None else device
        return pci.home_of(bdf, device.parents or pf.parents)

    def add(self, *devices: SimDevice) -> None:
        """Plug functions in, with their drivers bound; a VF needs its PF to be there."""
        for device in devices:
            self._devices[device.bdf] = msgspec.structs.replace(device, driver=None)
            home = self.home(device.bdf)
            pci.add_bridges(self.tree, tuple(home.split("/")[4:-1]))
            for name, content in pci.attributes(self._devices[device.bdf]).items():
                self.tree.write(f"{home}/{name}", content)
            self.tree.link(f"{pci.DEVICES}/{device.bdf}", home)
            pci.join_group(self.tree, device, home)
            if device.pf is not None:
                self.tree.link(f"{home}/physfn", self.home(device.pf))
                self._join_pf(device.pf, device.bdf)
            if device.driver is not None:
                self.bind(device.bdf, device.driver)

    def remove(self, bdf: str) -> None:
        """Unplug a function, and the virtual functions that it has."""
        self.disable_vfs(bdf)
        device, home = self._devices[bdf], self.home(bdf)
        if device.pf is not None:
            self._leave_pf(device.pf, bdf)
        self.unbind(bdf)
        self.tree.remove(f"{pci.DEVICES}/{bdf}")
        pci.leave_group(self.tree, device)
        self.tree.remove(home)
        del self._devices[bdf]

    def bind(self, bdf: str, driver: str) -> None:
        """Bind a driver; a bound one is unbound first."""
        if self._devices[bdf].driver is not None:
            self.unbind(bdf)
        device = self._devices[bdf] = msgspec.structs.replace(self._devices[bdf], driver=driver)
        home = self.home(bdf)
        self.tree.write(f"{home}/uevent", pci.uevent_text(device))
        pci.join_driver(self.tree, bdf, home, driver)
        self._join(parts_of(device, home))
        if driver == "rebellions":
            self.tree.write(RBLN_STAT, "#!/bin/sh\n")

    def unbind(self, bdf: str) -> None:
        """Unbind the driver: all that it made goes, nodes below /dev too."""
        device, home = self._devices[bdf], self.home(bdf)
        if device.driver is None:
            return
        pci.part_driver(self.tree, bdf, home, device.driver)
        parts = parts_of(device, home)
        self._devices[bdf] = msgspec.structs.replace(device, driver=None)
        self._remove_nodes(parts.nodes)
        for path in parts.links:
            self.tree.remove(path)
        for top in sorted({path.removeprefix(home).split("/")[1] for path in parts.files}):
            self.tree.remove(f"{home}/{top}")
        self.tree.write(f"{home}/uevent", pci.uevent_text(self._devices[bdf]))

    def enable_vfs(self, bdf: str, count: int, *, driver: str | None = None) -> tuple[str, ...]:
        """Make virtual functions, as a write to sriov_numvfs does; their PCI addresses.

        They take the PF's driver where none is given, product ids one above the PF's, and the
        next free rblnN where the driver is ``rebellions``.
        """
        pf = self._devices[bdf]
        driver = driver if driver is not None else pf.driver
        taken = {device.rbln for device in self._devices.values()}
        names = (name for n in itertools.count() if (name := f"rbln{n}") not in taken)
        groups = itertools.count(self._last_group() + 1)
        vfs = [
            SimDevice(
                bdf=shift(bdf, number),
                vendor=pf.vendor,
                device=f"{int(pf.device, 16) + 1:04x}",
                code=pf.code,
                driver=driver,
                numa=pf.numa,
                iommu=next(groups) if pf.iommu is not None else None,
                rbln=next(names) if driver == "rebellions" else None,
                pf=bdf,
            )
            for number in range(1, count + 1)
        ]
        self.add(*vfs)
        return tuple(vf.bdf for vf in vfs)

    def disable_vfs(self, bdf: str) -> None:
        """Take the function's virtual functions away, as writing 0 to sriov_numvfs does."""
        for vf in tuple(self._vfs.get(bdf, ())):
            self.remove(vf)

    def add_subfunction(self, bdf: str, sf: Subfunction) -> None:
        """Make an auxiliary device below a function, as devlink does."""
        device = self._devices[bdf]
        self._devices[bdf] = msgspec.structs.replace(device, sfs=(*device.sfs, sf))
        self._join(subfunction(sf, self.home(bdf)))

    def remove_subfunction(self, bdf: str, name: str) -> None:
        """Take it away."""
        device, home = self._devices[bdf], self.home(bdf)
        (sf,) = (one for one in device.sfs if one.name == name)
        rest = tuple(one for one in device.sfs if one.name != name)
        self._devices[bdf] = msgspec.structs.replace(device, sfs=rest)
        parts = subfunction(sf, home)
        for path in parts.links:
            self.tree.remove(path)
        self._remove_nodes(parts.nodes)
        self.tree.remove(f"{home}/{name}")

    def set_attribute(self, bdf: str, name: str, value: str | bytes | None) -> None:
        """Change a file of the function's directory (``class``, ``config``, …); None removes it."""
        path = f"{self.home(bdf)}/{name}"
        if value is None:
            self.tree.remove(path)
        else:
            self.tree.write(path, value)

    def set_interface(self, bdf: str, interface: str, name: str, value: str | None) -> None:
        """Change a file of an interface (``type``, ``phys_switch_id``, …); None removes it."""
        self.set_attribute(bdf, f"net/{interface}/{name}", value)

    def set_port(self, bdf: str, rdma: str, name: str, value: str | None) -> None:
        """Change a file of the port of an RDMA device (``state``, …); None removes it."""
        self.set_attribute(bdf, f"infiniband/{rdma}/ports/1/{name}", value)

    def hang(self, bdf: str, name: str) -> None:
        """Let whoever reads a file of the function's directory wait for ever."""
        self.tree.fifo(f"{self.home(bdf)}/{name}")

    def renumber_vf(self, bdf: str, number: int) -> None:
        """Give a virtual function another number at its PF, as where some were taken away."""
        pf = self._devices[bdf].pf
        assert pf is not None
        self.tree.remove(f"{self.home(pf)}/virtfn{self._vfs[pf][bdf]}")
        self.tree.link(f"{self.home(pf)}/virtfn{number}", self.home(bdf))
        self._vfs[pf][bdf] = number

    def set_numa_node(self, bdf: str, numa: int) -> None:
        """Change what ``numa_node`` says."""
        self._devices[bdf] = msgspec.structs.replace(self._devices[bdf], numa=numa)
        self.set_attribute(bdf, "numa_node", f"{numa}\n")

    def set_pools(self, bdf: str, text: str | None) -> None:
        """Change the rebellions driver's ``pools`` file; None removes it."""
        self.set_attribute(bdf, "pools", text)

    def rename_rbln(self, bdf: str, rbln: str) -> None:
        """Make the driver's ``pools`` file name another node, without any other change."""
        self.set_pools(bdf, pools_text(rbln))

    def set_status(self, rbln: str, status: int) -> None:
        """Change the NPU's status in /sys/class/rebellions."""
        self.set_class_attribute(rbln, "status", f"{status}\n")

    def hang_status(self, rbln: str) -> None:
        """Let reads of the NPU's status wait for ever, as on wedged hardware."""
        self.tree.fifo(f"/sys/class/rebellions/{rbln}/status")

    def answer_status(self, rbln: str, status: int) -> None:
        """Let them go: who waits and who comes reads this status."""
        self.tree.answer(f"/sys/class/rebellions/{rbln}/status", f"{status}\n")

    def set_class_attribute(self, rbln: str, name: str, value: str | None) -> None:
        """Change a file of /sys/class/rebellions/<rblnN>; None removes it."""
        path = f"/sys/class/rebellions/{rbln}/{name}"
        if value is None:
            self.tree.remove(path)
        else:
            self.tree.write(path, value)

    def add_dev_node(self, name: str) -> None:
        """Make a node below /dev."""
        self.tree.write(f"/dev/{name}", b"")

    def remove_dev_node(self, name: str) -> None:
        """Take a node below /dev away."""
        self.tree.remove(f"/dev/{name}")

    def _join(self, parts: Parts) -> None:
        for path, text in parts.files.items():
            self.tree.write(path, text)
        for path, target in parts.links.items():
            self.tree.link(path, target)
        self._add_nodes(parts.nodes)

    def _add_nodes(self, names: Iterable[str]) -> None:
        """Nodes can be shared (rsd0, a group's): the first user makes them, the last ends them."""
        for name in names:
            self._nodes[name] += 1
            if self._nodes[name] == 1:
                self.add_dev_node(name)

    def _remove_nodes(self, names: Iterable[str]) -> None:
        for name in names:
            self._nodes[name] -= 1
            if self._nodes[name] == 0:
                self.remove_dev_node(name)

    def _join_pf(self, pf: str, vf: str) -> None:
        vfs = self._vfs.setdefault(pf, {})
        number = next(number for number in itertools.count() if number not in vfs.values())
        self.tree.link(f"{self.home(pf)}/virtfn{number}", self.home(vf))
        vfs[vf] = number
        self._write_numvfs(pf)

    def _leave_pf(self, pf: str, vf: str) -> None:
        number = self._vfs[pf].pop(vf)
        self.tree.remove(f"{self.home(pf)}/virtfn{number}")
        self._write_numvfs(pf)

    def _write_numvfs(self, pf: str) -> None:
        if self._devices[pf].totalvfs is not None:
            self.tree.write(f"{self.home(pf)}/sriov_numvfs", f"{len(self._vfs[pf])}\n")

    def _last_group(self) -> int:
        return max((d.iommu for d in self._devices.values() if d.iommu is not None), default=0)
