"""Network functions as drivers of all kinds lay them out: who has carrier, who is whose PF.

Each case also holds after another supervisor has taken over, which knows nothing of before.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import pytest

from tests.sim import network
from tests.sim.device import Rdma, SimDevice, Subfunction
from tests.sim.node import SimNode
from tests.sim.nodes import Link
from tests.sim.stack import Stack
from tests.system.scene import allocatable, config, pool_status, served, untouched

pytestmark = pytest.mark.system

NICS: Final = "intel.com/nics"
NIC, PF = "0000:5e:00.0", "0000:3b:00.0"
NO_PROBATION: Final = {"probation": {"firstSeconds": 0}}


def pool(
    name: str = "nics", *, device_type: str = "netDevice", **selectors: object
) -> dict[str, object]:
    return {
        "resourceName": name,
        "deviceType": device_type,
        "selectors": selectors,
        "health": NO_PROBATION,
    }


def ether(bdf: str, driver: str, *net: str, **rest: object) -> SimDevice:
    nic = SimDevice(bdf, "15b3", "1017", "020000", driver, net=net)
    return msgspec.structs.replace(nic, **rest)


def ip(stack: Stack, *commands: str) -> None:
    network.run(stack.pid, *(f"ip {command}" for command in commands))


def cable(stack: Stack, name: str, state: str) -> None:
    ip(stack, f"link set {network.peer(name)} {state}")


def reason(stack: Stack, device: str, name: str = NICS) -> str:
    """Why a device is Unhealthy, as soon as it is."""
    seen = pool_status(
        stack,
        name,
        lambda pool: device in pool.devices and pool.devices[device].phase == "unhealthy",
        what=f"{device} is Unhealthy",
    )
    return seen.devices[device].reason


def taken_over(stack: Stack) -> None:
    """Another supervisor adopts the workers, and has looked at the node."""
    with same_links(stack):
        stack.kill()
        stack.start()
        stack.wait_status(lambda status: status.supervisor.ready, what="the next one is ready")
    assert stack.ctl("rescan").returncode == 0


def started_anew(stack: Stack) -> None:
    """Another supervisor, and other workers."""
    with same_links(stack):
        assert stack.stop().code == 0
        stack.start()
        stack.wait_status(lambda status: status.supervisor.ready, what="the next one is ready")


@contextmanager
def same_links(stack: Stack) -> Iterator[None]:
    """The next supervisor starts in the network namespace of this one."""
    command = [*network.entered(stack.pid), "sh", "-c", "echo there; exec sleep 60"]
    with a_process(command) as pid:
        stack.namespace = pid
        yield
        stack.namespace = None


@contextmanager
def a_process(command: list[str]) -> Iterator[int]:
    """One that says when it is there, and ends with the block."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"there\n"
        try:
            yield one.pid
        finally:
            one.kill()


def explained(stack: Stack, name: str) -> dict[str, Any]:
    done = stack.ctl("explain", name, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


# A device's own interface that is set down says nothing of it


@pytest.mark.parametrize("driver", ["ena", "gve", "mana", "ionic", "mlx5_core", "virtio-pci"])
def test_an_idle_nic_is_given_out(driver: str) -> None:
    """A NIC of its own, or a VF in a virtual machine: no PF is to be seen."""
    below = "virtio0" if driver == "virtio-pci" else ""
    nic = ether(NIC, driver, "eth1", net_below=below)
    links = {"eth1": Link(pair=True)}
    with Stack(config(pool(drivers=[driver])), lambda node: node.add(nic), links=links) as stack:
        served(stack, NICS)
        with untouched(stack, NICS):
            ip(stack, "link set eth1 down")
            assert stack.ctl("rescan").returncode == 0
            stack.kubelet.allocate(NICS, [[NIC]])
        cable(stack, "eth1", "down")
        ip(stack, "link set eth1 up")  # now it has something to say
        allocatable(stack, NICS, 0)
        assert reason(stack, NIC) == "its link eth1 is down (no carrier)"
        ip(stack, "link set eth1 down")
        allocatable(stack, NICS, 1)
        with untouched(stack, NICS):
            taken_over(stack)
        started_anew(stack)
        allocatable(stack, NICS, 1)


def test_an_idle_nic_is_given_out_from_the_start() -> None:
    nic = ether(NIC, "ena", "eth1")
    with Stack(config(pool(drivers=["ena"])), lambda node: node.add(nic), links={}) as stack:
        stack.wait_status(lambda s: s.supervisor.ready, what="it has a namespace")
        ip(stack, f"link add eth1 type {network.plain()}")
        for _ in range(2):
            served(stack, NICS)
            stack.kubelet.allocate(NICS, [[NIC]])
            device = stack.status().pools[NICS].devices[NIC]
            assert (device.health, device.reason) == ("Healthy", "")
            ip(stack, "link set eth1 up", "link set eth1 down")


def test_a_nic_that_a_pod_had_is_given_out_again() -> None:
    """The kernel closes an interface that changes its namespace."""
    nic = ether(NIC, "ionic", "eth1")
    links = {"eth1": Link(pair=True)}
    with Stack(config(pool(drivers=["ionic"])), lambda node: node.add(nic), links=links) as stack:
        served(stack, NICS)
        pod = network.inside(("echo there",), ("sleep", "60"))
        with untouched(stack, NICS), a_process(pod) as pid:
            ip(stack, f"link set eth1 netns {pid}")
            network.run(pid, "ip link set eth1 up", f"ip link set eth1 netns {stack.pid}")
            shown = subprocess.run(
                [*network.entered(stack.pid), "ip", "-o", "link", "show", "eth1"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert ",UP" not in shown.stdout
            assert stack.ctl("rescan").returncode == 0


def test_a_sub_function_whose_pf_is_not_known() -> None:
    """All that is here of its PF is its own representor, which nobody has set up."""
    sf = Subfunction("mlx5_core.sf.4", 88, ("en3f0s88",))
    pf = ether(PF, "mlx5_core", "f0pf0sf88", sfs=(sf,))

    def build(node: SimNode) -> None:
        node.add(pf)
        node.set_interface(PF, "f0pf0sf88", "phys_switch_id", "cafe\n")
        node.set_interface(PF, "f0pf0sf88", "phys_port_name", "pf0sf88\n")

    links = {"f0pf0sf88": Link(pair=True), "en3f0s88": Link(pair=True)}
    pools = config(pool(device_type="auxNetDevice", auxTypes=["sf"]))
    with Stack(pools, build, links=links) as stack:
        served(stack, NICS)
        with untouched(stack, NICS):
            ip(stack, "link set en3f0s88 down", "link set f0pf0sf88 down")
            assert stack.ctl("rescan").returncode == 0
            taken_over(stack)


# InfiniBand: the port's state


def hca(bdf: str, number: int, *net: str, **rest: object) -> SimDevice:
    rdma = Rdma(f"mlx5_{number}", number, "InfiniBand")
    return ether(bdf, "mlx5_core", *net, rdma=rdma, **rest)


def ports(stack: Stack, state: str, *rdma: tuple[str, str]) -> None:
    for bdf, name in rdma:
        stack.node.set_port(bdf, name, "state", f"{state}\n")


ONE: Final = ((NIC, "mlx5_0"),)


@pytest.mark.parametrize("layout", ["ib0 is down", "ib0 is up", "no ipoib"])
def test_an_infiniband_adapter_is_judged_by_its_port(layout: str) -> None:
    net = () if layout == "no ipoib" else ("ib0",)
    links = {name: Link(pair=True) for name in net}

    def build(node: SimNode) -> None:
        node.add(hca(NIC, 0, *net))
        if net:
            node.set_interface(NIC, "ib0", "type", "32\n")

    with Stack(config(pool(vendors=["15b3"])), build, links=links) as stack:
        served(stack, NICS)
        if layout == "ib0 is down":
            with untouched(stack, NICS):
                cable(stack, "ib0", "down")
                assert stack.ctl("rescan").returncode == 0
        for state, because in (
            ("2: INIT", "INIT (no subnet manager has set it up)"),
            ("1: DOWN", "DOWN (no cable, or disabled)"),
            ("3: ARMED", "ARMED (the subnet manager has not made it active)"),
        ):
            ports(stack, state, *ONE)
            allocatable(stack, NICS, 0, deadline_s=20)
            told = f"port 1 of its InfiniBand device mlx5_0 is {because}"
            assert reason(stack, NIC) == told
            if state == "2: INIT":
                taken_over(stack)
                assert reason(stack, NIC) == told
            ports(stack, "4: ACTIVE", *ONE)
            allocatable(stack, NICS, 1, deadline_s=20)


def test_infiniband_virtual_functions() -> None:
    """One has its RDMA device here, the other one is a virtual machine's; ib0 is set down."""
    vfs = ("0000:3b:00.1", "0000:3b:00.2")

    def build(node: SimNode) -> None:
        node.add(hca(PF, 0, "ib0", totalvfs=4))
        node.set_interface(PF, "ib0", "type", "32\n")
        node.add(hca(vfs[0], 1, pf=PF), ether(vfs[1], "vfio-pci", pf=PF, iommu=7))

    pools = config(pool(rootDevices=[PF]))
    with Stack(pools, build, links={"ib0": Link(pair=True)}) as stack:
        allocatable(stack, NICS, 2)
        with untouched(stack, NICS):
            ip(stack, "link set ib0 down")
            # No CNI plugin has set it up yet: the cable carries.
            ports(stack, "1: DOWN", (vfs[0], "mlx5_1"))
            assert stack.ctl("rescan").returncode == 0
        ports(stack, "2: INIT", (PF, "mlx5_0"))
        allocatable(stack, NICS, 1, deadline_s=20)
        assert reason(stack, vfs[1]).startswith("port 1 of its PF's InfiniBand device mlx5_0 is ")
        stack.node.set_port(vfs[0], "mlx5_1", "phys_state", "2: Polling\n")
        ports(stack, "2: INIT", (vfs[0], "mlx5_1"))
        allocatable(stack, NICS, 0, deadline_s=20)
        ports(stack, "4: ACTIVE", (PF, "mlx5_0"), (vfs[0], "mlx5_1"))
        allocatable(stack, NICS, 2, deadline_s=20)


def test_roce_is_judged_by_its_link() -> None:
    nic = ether(NIC, "mlx5_core", "eth1", rdma=Rdma("mlx5_0", 0))
    links = {"eth1": Link(pair=True)}
    pools = config(pool(vendors=["15b3"]))
    with Stack(pools, lambda node: node.add(nic), links=links) as stack:
        served(stack, NICS)
        with untouched(stack, NICS):
            ports(stack, "1: DOWN", *ONE)
            assert stack.ctl("rescan").returncode == 0
        cable(stack, "eth1", "down")
        allocatable(stack, NICS, 0)
        assert reason(stack, NIC) == "its link eth1 is down (no carrier)"


# Interfaces below a child of the function


@pytest.mark.parametrize(
    ("driver", "child"),
    [
        ("virtio-pci", "virtio3"),
        ("mlx5_core", "vdpa0/virtio1"),
        ("b43-pci-bridge", "ssb0:0"),
        ("hinic3", "hinic3.nic.0"),
        ("ena", ""),
    ],
)
@pytest.mark.parametrize("order", ["route first", "pool first"])
def test_the_nodes_uplink_is_found_wherever_it_lies(driver: str, child: str, order: str) -> None:
    def build(node: SimNode) -> None:
        node.add(
            ether(NIC, driver, "ens3", net_below=child),
            ether("0000:5f:00.0", driver, "ens4", net_below=child, parents=("0000:00:1c.0",)),
        )

    links = {"ens3": Link(default_route=order == "route first"), "ens4": Link()}
    with Stack(config(pool(linkTypes=["ether"])), build, links=links) as stack:
        allocatable(stack, NICS, 1 if order == "route first" else 2)
        if order == "pool first":
            ip(stack, "addr add 10.9.0.1/24 dev ens3", "route add default via 10.9.0.2 dev ens3")
            assert stack.ctl("rescan").returncode == 0
            allocatable(stack, NICS, 1)
        told = explained(stack, "ens3")
        assert told["device"] == NIC
        assert "default route" in told["detail"]
        assert explained(stack, "ens4")["pool"] == NICS
        started_anew(stack)
        allocatable(stack, NICS, 1)


# Several interfaces on one function


@pytest.mark.parametrize(
    ("driver", "first", "second"),
    [("mlx4_core", "ens1", "ens1d1"), ("mana", "eth1", "eth2"), ("cxgb4", "p0", "a1")],
)
def test_one_of_several_interfaces_is_enough(driver: str, first: str, second: str) -> None:
    nic = ether(NIC, driver, first, second)
    links = {name: Link(pair=True) for name in (first, second)}
    with Stack(config(pool(drivers=[driver])), lambda node: node.add(nic), links=links) as stack:
        served(stack, NICS)
        for one, other in ((first, second), (second, first)):
            with untouched(stack, NICS):
                cable(stack, one, "down")
                assert stack.ctl("rescan").returncode == 0
            cable(stack, other, "down")
            allocatable(stack, NICS, 0)
            assert reason(stack, NIC).count("(no carrier)") == 2
            cable(stack, one, "up")
            allocatable(stack, NICS, 1)
            cable(stack, other, "up")


def test_virtual_functions_below_a_pf_with_two_interfaces() -> None:
    def build(node: SimNode) -> None:
        node.add(ether(PF, "mlx4_core", "ens1", "ens1d1", totalvfs=8))
        node.enable_vfs(PF, 4)

    links = {name: Link(pair=True) for name in ("ens1", "ens1d1")}
    pools = config(pool("a", pfNames=["ens1#0"]), pool("b", pfNames=["ens1d1#1-3"]))
    with Stack(pools, build, links=links) as stack:
        allocatable(stack, "intel.com/a", 1)
        allocatable(stack, "intel.com/b", 3)
        with untouched(stack, "intel.com/a", "intel.com/b"):
            cable(stack, "ens1", "down")
            taken_over(stack)
        cable(stack, "ens1d1", "down")
        allocatable(stack, "intel.com/a", 0)
        allocatable(stack, "intel.com/b", 0)
        assert explained(stack, "ens1d1")["device"] == PF


def test_an_alternative_name_is_explained() -> None:
    def build(node: SimNode) -> None:
        node.add(ether(PF, "ice", "ens1", totalvfs=4), ether(NIC, "ena", "eth1"))
        node.enable_vfs(PF, 1)

    links = {"ens1": Link(), "eth1": Link()}
    pools = config(pool("a", pfNames=["enp59s0f0np0"]), pool(drivers=["ena"]))
    with Stack(pools, build, links=links) as stack:
        served(stack, NICS)
        for interface, name in (("ens1", "enp59s0f0np0"), ("eth1", "enp94s0-a-long-name-for-it")):
            ip(stack, f"link property add dev {interface} altname {name}")
        assert stack.ctl("rescan").returncode == 0
        told = explained(stack, "enp94s0-a-long-name-for-it")
        assert (told["device"], told["pool"]) == (NIC, NICS)
        told = explained(stack, "0000:3b:00.1")
        assert told["notes"] == [
            "intel.com/a selectors[0].pfNames has enp59s0f0np0, an alternative name of its PF "
            "ens1: pfNames accepts ens1"
        ]
        ip(stack, "link property del dev eth1 altname enp94s0-a-long-name-for-it")
        assert stack.ctl("rescan").returncode == 0
        assert stack.ctl("explain", "enp94s0-a-long-name-for-it").returncode == 1


# An eswitch in switchdev mode whose mode nobody tells


@pytest.mark.parametrize(
    ("uplink", "ports_"),
    [
        ("p0", {"ens1f0np0": "p0", "e1pf0vf0": "pf0vf0", "aaa": "pf0vf1"}),
        ("split", {"a0": "c1pf0vf0", "a1": "pf0sf88", "split": "p1s0"}),
        ("old", {"aaa": "0", "bbb": "1", "old": "p0"}),
    ],
)
def test_a_representor_is_never_taken_for_the_pf(uplink: str, ports_: dict[str, str]) -> None:
    names = {("ens1f0np0" if uplink == "p0" else uplink): Link(pair=True)}
    (name,) = names

    def build(node: SimNode) -> None:
        node.add(ether(PF, "mlx5_core", *ports_, totalvfs=4))
        for interface, port in ports_.items():
            node.set_interface(PF, interface, "phys_switch_id", "0a1b2c\n")
            node.set_interface(PF, interface, "phys_port_name", f"{port}\n")
        node.enable_vfs(PF, 2)

    links = names | {one: Link(pair=True) for one in ports_ if one != name}
    with Stack(config(pool(pfNames=[name])), build, links=links) as stack:
        allocatable(stack, NICS, 2)
        with untouched(stack, NICS):
            for one in ports_.keys() - {name}:
                ip(stack, f"link set {one} down")
            taken_over(stack)
        assert explained(stack, "0000:3b:00.1")["values"]["pfNames"] == f"{name}#0"
        cable(stack, name, "down")
        allocatable(stack, NICS, 0)
        assert reason(stack, "0000:3b:00.1") == f"link of its PF {name} is down (no carrier)"
        (problem,) = stack.status().supervisor.problems
        assert problem.text.startswith(f"the eswitch mode of {PF} can't be read")
