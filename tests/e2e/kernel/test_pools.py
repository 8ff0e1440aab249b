"""The whole system on the real /sys and /dev: what the kubelet hears of accelerators."""

import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from google.protobuf.json_format import MessageToDict

from rbln_supervisor.core.commands import Rescan, Rescanned
from rbln_supervisor.ctl.client import ask
from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import GRACE_S, KERNEL, KERNEL_DRIVER, VM, Note
from tests.e2e.kernel.vm.machine import SLOTS
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.kubelet_records import SeenDevice
from tests.sim.system import System

HEALTHY = "Healthy"
UNHEALTHY = "Unhealthy"


def rescan(system: System) -> None:
    assert isinstance(ask(system.run_dir, Rescan()), Rescanned)


def heard(system: System, name: str, address: str, health: str | None) -> float:
    """Look for devices now; seconds until the kubelet hears so of a device (None: it left)."""
    began = monotonic()
    rescan(system)
    system.kubelet.wait(
        lambda k: (
            (device.health if (device := k.resource(name).devices.get(address)) else None) == health
        ),
        what=f"{address} of {name} is {health}",
    )
    return monotonic() - began


def reason(system: System, name: str, address: str) -> str:
    """Why a device is not healthy, as rbln-ctl says it."""
    status = system.wait_status(
        lambda status: status.pools[name].devices[address].reason, what=f"a reason for {address}"
    )
    return status.pools[name].devices[address].reason


def test_numa_nodes_reach_the_kubelet(
    system: System,
    accelerators: tuple[str, str],
    plug: Callable[[str, str], str],
    note: Note,
) -> None:
    nowhere = plug("one", SLOTS[0])
    took = heard(system, KERNEL, nowhere, HEALTHY)
    assert system.kubelet.resource(KERNEL).devices == {
        accelerators[0]: SeenDevice(HEALTHY, (0,)),
        accelerators[1]: SeenDevice(HEALTHY, (1,)),
        nowhere: SeenDevice(HEALTHY, ()),
    }
    note("accelerators on NUMA node 0, 1 and none", "so ListAndWatch says", took)


def test_a_device_for_virtual_machines(
    system: System, accelerators: tuple[str, str], note: Note
) -> None:
    address = accelerators[1]
    heard(system, KERNEL, address, HEALTHY)
    group = pci.group(address)
    assert not Path("/dev/vfio", group).exists()
    began = monotonic()
    pci.bind(address, "vfio-pci")
    bound = monotonic() - began
    took = heard(system, VM, address, HEALTHY)
    system.kubelet.wait(
        lambda k: address not in k.resource(KERNEL).devices, what="it left the other pool"
    )
    assert system.kubelet.resource(VM).devices[address].numa == (1,)
    note("virtio-pci → vfio-pci", f"/dev/vfio/{group} by itself", bound)
    note("rescan", "it left its pool, and is allocatable in that of vfio-pci", took)

    began = monotonic()
    reply = system.kubelet.allocate(VM, [[address]])
    took = monotonic() - began
    (answer,) = reply.container_responses
    told = MessageToDict(answer, preserving_proto_field_name=True)
    node = f"/dev/vfio/{group}"
    assert told["devices"] == [
        {"container_path": path, "host_path": path, "permissions": "rw"}
        for path in ("/dev/vfio/vfio", node)
    ]
    assert answer.envs["PCIDEVICE_REBELLIONS_AI_VM"] == address
    assert json.loads(answer.envs["PCIDEVICE_REBELLIONS_AI_VM_INFO"])[address]["vfio"] == {
        "mount": "/dev/vfio/vfio",
        "dev-mount": node,
        "vfio-mount": "/dev/vfio/vfio",
        "vfio-dev-mount": node,
    }
    for path in ("/dev/vfio/vfio", node):
        assert Path(path).is_char_device()
    assert pci.viable(group)
    with pci.in_use(address):
        assert heard(system, VM, address, HEALTHY)
    note("Allocate", f"{node}: opened, its group is viable, its device can be had", took)


def test_an_unbound_device_is_unhealthy_until_it_is_bound_again(
    system: System, accelerators: tuple[str, str], note: Note
) -> None:
    address = accelerators[0]
    heard(system, KERNEL, address, HEALTHY)
    pci.unbind(address)
    took = heard(system, KERNEL, address, UNHEALTHY)
    assert reason(system, KERNEL, address) == "no driver is bound to it"
    note("driver unbound, rescan", "Unhealthy: no driver is bound to it", took)
    pci.rebind(address, KERNEL_DRIVER)
    took = heard(system, KERNEL, address, HEALTHY)
    note("driver bound again, rescan", "Healthy", took)


def test_an_unplugged_device_is_unhealthy_and_leaves(
    system: System, monitor: Qmp, plug: Callable[[str, str], str], note: Note
) -> None:
    began = monotonic()
    address = plug("two", SLOTS[1])
    plugged = monotonic() - began
    took = heard(system, KERNEL, address, HEALTHY)
    note("an accelerator is plugged", f"in /sys, bound to {KERNEL_DRIVER}", plugged)
    note("rescan", "it is allocatable", took)

    began = monotonic()
    monitor("device_del", id="two")
    pci.until(lambda: address not in pci.addresses(), what=f"{address} is gone")
    unplugged = monotonic() - began
    took = heard(system, KERNEL, address, UNHEALTHY)
    assert reason(system, KERNEL, address) == "unplugged"
    note("it is unplugged", "gone from /sys", unplugged)
    note("rescan", "Unhealthy: unplugged", took)
    monitor.wait("DEVICE_DELETED", "two")

    began = monotonic()
    system.kubelet.wait(
        lambda k: address not in k.resource(KERNEL).devices, what="it leaves the list"
    )
    note(f"after a grace time of {GRACE_S:.0f} s", "it left the list", monotonic() - began)
    assert plug("two", SLOTS[1]) == address
    took = heard(system, KERNEL, address, HEALTHY)
    note("plugged into the same slot, rescan", "Healthy at the same address", took)


def test_a_device_in_use_is_unplugged(
    system: System, monitor: Qmp, plug: Callable[[str, str], str], note: Note
) -> None:
    """A device that a virtual machine has stays until it lets go: to our eyes without a driver."""
    address = plug("three", SLOTS[0])
    pci.bind(address, "vfio-pci")
    heard(system, VM, address, HEALTHY)
    with pci.in_use(address):
        monitor("device_del", id="three")
        pci.until(lambda: pci.driver(address) is None, what="the kernel begins")
        took = heard(system, VM, address, UNHEALTHY)
        why = reason(system, VM, address)
        assert address in pci.addresses()
    began = monotonic()
    pci.until(lambda: address not in pci.addresses(), what=f"{address} is gone")
    note("unplugged while its vfio device is open, rescan", f"Unhealthy: {why}", took)
    note("its user lets go", "gone from /sys", monotonic() - began)
    heard(system, VM, address, UNHEALTHY)
    monitor.wait("DEVICE_DELETED", "three")
