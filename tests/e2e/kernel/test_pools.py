"""The whole system on the real /sys and /dev: what the kubelet hears of accelerators.

Nobody asks for a look: what happens is heard.
"""

import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from google.protobuf.json_format import MessageToDict

from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import GRACE_S, Note, reason
from tests.e2e.kernel.listening import Listening
from tests.e2e.kernel.pools import KERNEL, KERNEL_DRIVER, VM
from tests.e2e.kernel.told import AWAY, HEALTHY, UNHEALTHY, Told, heard
from tests.e2e.kernel.vm.machine import SLOTS
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.kubelet_records import SeenDevice
from tests.sim.system import System


def test_numa_nodes_reach_the_kubelet(
    system: System,
    accelerators: tuple[str, str],
    plug: Callable[[str, str], str],
    note: Note,
) -> None:
    for address in accelerators:
        heard(system.kubelet, KERNEL, address, HEALTHY)
    told = Told(system.kubelet, KERNEL)
    began = monotonic()
    nowhere = plug("one", SLOTS[0])
    came = heard(system.kubelet, KERNEL, nowhere, HEALTHY)
    assert system.kubelet.resource(KERNEL).devices == {
        accelerators[0]: SeenDevice(HEALTHY, (0,)),
        accelerators[1]: SeenDevice(HEALTHY, (1,)),
        nowhere: SeenDevice(HEALTHY, ()),
    }
    assert told.ways(KERNEL)[nowhere] == (AWAY, HEALTHY)
    note("accelerators on NUMA node 0, 1 and none (plugged now)", "so it says", came - began)


@pytest.mark.by_kernel
def test_a_device_for_virtual_machines(
    system: System, accelerators: tuple[str, str], listening: Listening, note: Note
) -> None:
    address = accelerators[1]
    heard(system.kubelet, KERNEL, address, HEALTHY)
    group = pci.group(address)
    assert not Path("/dev/vfio", group).exists()
    told = Told(system.kubelet, KERNEL, VM)
    began = monotonic()
    pci.bind(address, "vfio-pci")
    bound = listening.last("bind", address, began)
    came = heard(system.kubelet, VM, address, HEALTHY)
    left = heard(system.kubelet, KERNEL, address, AWAY)
    assert told.ways(VM) == {address: (AWAY, HEALTHY)}
    # Without a driver for a moment: a look can fall into it.
    assert told.ways(KERNEL)[address] in {(HEALTHY, AWAY), (HEALTHY, UNHEALTHY, AWAY)}
    assert told.superfluous() == ()
    assert system.kubelet.resource(VM).devices[address].numa == (1,)
    note("virtio-pci → vfio-pci", f"/dev/vfio/{group} by itself, bound", bound - began)
    note("… its bind → KERNEL", "it left", left - bound)
    note("… its bind → VM (a worker starts)", "Healthy", came - bound)

    began = monotonic()
    reply = system.kubelet.allocate(VM, [[address]])
    took = monotonic() - began
    (answer,) = reply.container_responses
    said = MessageToDict(answer, preserving_proto_field_name=True)
    node = f"/dev/vfio/{group}"
    assert said["devices"] == [
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
    note("Allocate", f"{node}: opened, its group is viable, its device can be had", took)
    told = Told(system.kubelet, KERNEL, VM)
    with pci.in_use(address):
        pass
    began = monotonic()
    pci.rebind(address, KERNEL_DRIVER)
    bound = listening.last("bind", address, began)
    came = heard(system.kubelet, KERNEL, address, HEALTHY)
    heard(system.kubelet, VM, address, AWAY)
    assert told.ways(KERNEL)[address] == (AWAY, HEALTHY)
    assert told.ways(VM)[address] in {(HEALTHY, AWAY), (HEALTHY, UNHEALTHY, AWAY)}
    assert told.superfluous() == ()
    note(
        "vfio-pci → virtio-pci: its bind → KERNEL",
        "Healthy; used and let go: no word",
        came - bound,
    )


def test_an_unbound_device_is_unhealthy_until_it_is_bound_again(
    system: System, accelerators: tuple[str, str], listening: Listening, note: Note
) -> None:
    address = accelerators[0]
    heard(system.kubelet, KERNEL, address, HEALTHY)
    told = Told(system.kubelet, KERNEL)
    began = monotonic()
    pci.unbind(address)
    unbound = listening.last("unbind", address, began)
    fell = heard(system.kubelet, KERNEL, address, UNHEALTHY)
    assert reason(system, KERNEL, address) == "no driver is bound to it"
    note("driver unbound: unbind → KERNEL", "Unhealthy: no driver is bound to it", fell - unbound)
    began = monotonic()
    pci.rebind(address, KERNEL_DRIVER)
    bound = listening.last("bind", address, began)
    rose = heard(system.kubelet, KERNEL, address, HEALTHY)
    assert told.ways(KERNEL)[address] == (HEALTHY, UNHEALTHY, HEALTHY)
    assert len(told.messages(KERNEL)) == told.steps(KERNEL)
    note("… and bound again: bind → KERNEL", "Healthy", rose - bound)


def test_an_unplugged_device_is_unhealthy_and_leaves(
    system: System,
    monitor: Qmp,
    plug: Callable[[str, str], str],
    listening: Listening,
    note: Note,
) -> None:
    told = Told(system.kubelet, KERNEL)
    began = monotonic()
    address = plug("two", SLOTS[1])
    bound = listening.last("bind", address, began)
    came = heard(system.kubelet, KERNEL, address, HEALTHY)
    note("an accelerator is plugged", f"in /sys, bound to {KERNEL_DRIVER}", bound - began)
    note("… its bind → KERNEL", "it is allocatable", came - bound)

    began = monotonic()
    monitor("device_del", id="two")
    gone = listening.last("remove", address, began)
    fell = heard(system.kubelet, KERNEL, address, UNHEALTHY)
    assert reason(system, KERNEL, address) in {"unplugged", "no driver is bound to it"}
    note("it is unplugged", "gone from /sys", gone - began)
    note("… its remove → KERNEL", "Unhealthy", fell - gone)
    monitor.wait("DEVICE_DELETED", "two")
    assert reason(system, KERNEL, address, "unplugged") == "unplugged"

    left = heard(system.kubelet, KERNEL, address, AWAY)
    assert told.ways(KERNEL)[address] == (AWAY, HEALTHY, UNHEALTHY, AWAY)
    assert len(told.messages(KERNEL)) == told.steps(KERNEL)
    note(f"after a grace time of {GRACE_S:.0f} s", "it left", left - fell)
    began = monotonic()
    assert plug("two", SLOTS[1]) == address
    came = heard(system.kubelet, KERNEL, address, HEALTHY)
    note("plugged into the same slot", "Healthy at the same address", came - began)
