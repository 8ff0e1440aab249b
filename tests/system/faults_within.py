"""Faults of the configuration, of pools and workers, and of devices."""

import os
import signal
from collections.abc import Callable
from typing import Final

from tests.sim import atomic
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import demo
from tests.sim.stack import Stack
from tests.system.fault import Fault
from tests.system.faults_around import deaf_kubelet, with_cdi
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    VMS,
    config,
    eventually,
    pool,
    pool_status,
)


def patient() -> Stack:
    """What speaks against a device of ATOM has to do so for a long time."""
    return Stack(config({**ATOM_POOL, "health": {"suspectSeconds": 600}}, VM_POOL))


def written(*pools: dict[str, object]) -> Callable[[Stack], object]:
    """Another configuration file, which nobody reads by himself."""
    return lambda stack: stack.write_config(config(*pools))


def reloaded(*pools: dict[str, object]) -> Callable[[Stack], object]:
    def change(stack: Stack) -> None:
        stack.write_config(config(*pools))
        done = stack.ctl("reload")
        assert done.returncode == 0, done.stderr

    return change


def discovered(change: Callable[[SimNode], object]) -> Callable[[Stack], object]:
    """A change of the node that is seen at once."""

    def changed(stack: Stack) -> None:
        change(stack.node)
        assert stack.ctl("rescan").returncode == 0

    return changed


def garbled(node: SimNode) -> None:
    """Nothing says what it is."""
    node.set_attribute(ATOMS[1], "modalias", None)


def bad_reload(stack: Stack) -> None:
    stack.write_config({"resourceList": 3})
    assert stack.ctl("reload").returncode == 1


def in_the_way(stack: Stack) -> None:
    """Somebody has put something in the place of the workers' socket."""
    socket = stack.run_dir / "workers.sock"
    atomic.put_folder(socket)


def kill_worker(stack: Stack) -> None:
    os.kill(stack.workers()[ATOM], signal.SIGKILL)
    pool_status(stack, ATOM, lambda now: now.worker.restarts, what="it was started again")


def no_worker_can_start(stack: Stack) -> None:
    log = stack.run_dir / "pools" / "rebellions.ai_ATOM.log"
    eventually(log.exists, what="its last lines")
    atomic.put_folder(log)
    os.kill(stack.workers()[ATOM], signal.SIGKILL)


def blocked_spec(stack: Stack) -> None:
    (spec,) = (stack.root / "var/run/cdi").glob("*ATOM*")
    atomic.put_folder(spec)
    kill_worker(stack)  # the next one writes it anew


def no_iommu(stack: Stack) -> None:
    for group in (stack.root / "sys/kernel/iommu_groups").iterdir():
        stack.node.tree.remove(f"/sys/kernel/iommu_groups/{group.name}")


NIC: Final = "0000:3b:00.0"


def with_a_nic() -> Stack:
    """A NIC beside the rest whose driver shows two interfaces, and that has a VF."""

    def build(node: SimNode) -> None:
        demo(node)
        pf = SimDevice(NIC, "15b3", "101d", "020000", "mlx5_core", net=("p0", "p0_0"), totalvfs=4)
        node.add(pf)
        node.enable_vfs(NIC, 1)

    vfs: dict[str, object] = {"resourceName": "VF", "selectors": {"rootDevices": [NIC]}}
    return Stack(config(ATOM_POOL, VM_POOL, vfs), build)


def with_an_intel_nic() -> Stack:
    def build(node: SimNode) -> None:
        demo(node)
        node.add(SimDevice(NIC, "8086", "1592", "020000", "ice", net=("p0",)))

    return Stack(TWO_POOLS, build)


def ports(node: SimNode) -> None:
    """Its eswitch has ports, and no devlink tells the mode."""
    for interface, name in (("p0", "p0"), ("p0_0", "pf0vf0")):
        node.set_interface(NIC, interface, "phys_switch_id", "cafe\n")
        node.set_interface(NIC, interface, "phys_port_name", f"{name}\n")


FAULTS: Final = (
    Fault(
        "eswitch-mode-unknown",
        discovered(ports),
        f"the eswitch mode of {NIC} can't be read",
        "note",
        system=with_a_nic,
    ),
    Fault(
        "facts-unreadable",
        reloaded(
            *(ATOM_POOL, VM_POOL),
            pool(
                "DDP",
                deviceType="netDevice",
                selectors={"vendors": ["8086"], "ddpProfiles": ["GTPv1-C/U"]},
            ),
        ),
        "not found, so that no device has a DDP profile",
        "warning",
        system=with_an_intel_nic,
    ),
    # The configuration
    Fault("config-invalid", bad_reload, "resourceList: expected array, got number"),
    Fault("reload-refused", bad_reload, "expected array, got number"),
    Fault(
        "config-warning",
        lambda s: s.write_config('{"resourceList": [{"resourceName": "A", "selectors": {},}]}'),
        "trailing comma",
        "note",
    ),
    Fault(
        "pool-invalid",
        written(ATOM_POOL, pool("BAD", vendors="1eff")),
        "expected array, got string",
        subject="rebellions.ai/BAD",
    ),
    Fault(
        "pool-empty",
        written(ATOM_POOL, VM_POOL, pool("NO", vendors=["1234"])),
        "selectors[0].vendors rejects 6: expected 1234, the first has 1eff",
        subject="rebellions.ai/NO",
    ),
    Fault("socket-unavailable", in_the_way, "workers.sock was removed and can't be created again"),
    # Pools and workers
    Fault("pool-not-registered", deaf_kubelet, "journalctl -u kubelet", subject=ATOM),
    Fault("cdi-spec-not-written", blocked_spec, "can't be written", subject=ATOM, system=with_cdi),
    Fault(
        "cdi-unsupported",
        reloaded({**ATOM_POOL, "resourcePrefix": "1odd.com"}, VM_POOL),
        "'1odd.com' is no CDI vendor",
        "warning",
        "1odd.com/ATOM",
        system=with_cdi,
    ),
    Fault("worker-restarted", kill_worker, "SIGKILL", "warning", ATOM),
    Fault("worker-restarting", no_worker_can_start, "exit code", subject=ATOM),
    # Devices
    Fault(
        "discovery-failed",
        discovered(lambda n: n.tree.remove("/sys/bus/pci/devices")),
        "No such file",
    ),
    Fault(
        "device-unreadable",
        discovered(garbled),
        f"device {ATOMS[1]} is left out: modalias: No such file",
    ),
    Fault("driver-missing", discovered(lambda node: node.unbind(ATOMS[1])), "modprobe rebellions"),
    Fault(
        "device-not-selected",
        discovered(lambda node: node.bind(ATOMS[1], "uio_pci_generic")),
        "1 device bound to uio_pci_generic, and pools select rebellions",
        "warning",
    ),
    Fault("device-not-selected", reloaded(pool("ATOM", devices=["1120"])), VMS[0], "warning"),
    Fault("node-missing", lambda s: s.node.remove_dev_node("rbln2"), "/dev/rbln2", subject=ATOM),
    Fault("rsd-missing", lambda s: s.node.remove_dev_node("rsd0"), "group", subject="/dev/rsd0"),
    Fault(
        "rbln-stat-missing",
        lambda s: s.node.tree.remove("/usr/local/bin/rbln-stat"),
        "install",
        "warning",
    ),
    Fault("iommu-off", no_iommu, "intel_iommu=on", subject=VM),
    Fault("device-unhealthy", lambda s: s.node.set_status("rbln1", 3), "FAULT", subject=ATOM),
    Fault(
        "device-suspect",
        lambda s: s.node.set_status("rbln1", 2),
        "INIT",
        "warning",
        ATOM,
        system=patient,
    ),
    Fault(
        "device-warning",
        discovered(lambda node: node.set_attribute(ATOMS[1], "current_link_width", "8\n")),
        "its PCIe link runs at 32.0 GT/s x8",
        "warning",
        ATOM,
    ),
)
