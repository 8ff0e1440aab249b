"""Links and default routes as the kernel tells them, in a network namespace of our own."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import msgspec
import pytest

from rbln_worker.host.netlink.links import LinkTable
from tests.sim import network
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import Link
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import config, served

pytestmark = pytest.mark.system

READ: Final = (
    *(sys.executable, "-X", "dev", "-W", "error", "-c"),
    "import sys; from rbln_worker.host.netlink import rtnetlink; import msgspec; "
    "sys.stdout.buffer.write(msgspec.json.encode(rtnetlink.read_links()))",
)


def seen(*setup: str, tolerant: bool = False) -> LinkTable:
    """What is read in a namespace after these commands; skips where one is not possible."""
    done = subprocess.run(
        network.inside(setup, READ),
        cwd=REPOSITORY,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode and not done.stdout and b"Traceback" not in done.stderr:
        pytest.skip(f"not on this kernel, or not for this user: {done.stderr.decode().strip()}")
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=LinkTable)


def plain(*names: str) -> Sequence[str]:
    kind = network.plain()
    return [
        command
        for name in names
        for command in (f"ip link add {name} type {kind}", f"ip link set {name} up")
    ]


V4: Final = "ip addr add 10.9.0.1/24 dev {0} && ip route add default via 10.9.0.2 dev {0}"
V6: Final = (
    "ip -6 addr add 2001:db8::1/64 dev {0} nodad && ip -6 route add default via 2001:db8::2 dev {0}"
)


def test_types() -> None:
    links = seen("ip link set lo up", *plain("eno1"), "ip tuntap add tun0 mode tun")
    assert links.types == {"lo": "loopback", "eno1": "ether", "tun0": "none"}
    assert links.carriers == frozenset()


@pytest.mark.parametrize("route", [V4, V6], ids=["IPv4", "IPv6"])
def test_a_route_through_the_link_itself(route: str) -> None:
    links = seen(*plain("eno1", "eno2"), route.format("eno1"))
    assert links.carriers == {"eno1"}


@pytest.mark.parametrize(
    "route",
    [
        "ip route add default dev eno1 table 4711",
        "ip route add default nexthop dev eno2 nexthop dev eno1",
        "ip -6 route add default dev eno1 table 1000",
        "ip route add default dev eno1 metric 4000000",
    ],
)
def test_any_default_route_counts(route: str) -> None:
    links = seen(*plain("eno1", "eno2", "eno3"), route)
    assert links.carriers - {"eno2"} == {"eno1"}


@pytest.mark.parametrize(
    "route",
    [
        "ip route add 10.0.0.0/8 dev eno1",
        "ip route add 0.0.0.0/1 dev eno1",
        "ip route add unreachable default",
        "ip -6 route add unreachable default",
        "ip route add default dev lo",
    ],
)
def test_other_routes_do_not(route: str) -> None:
    links = seen("ip link set lo up", *plain("eno1"), route)
    assert links.carriers <= {"lo"}


def test_below_a_bridge() -> None:
    links = seen(
        *plain("eno1", "eno2", "eno3"),
        "ip link add br0 type bridge && ip link set br0 up",
        "ip link set eno1 master br0 && ip link set eno2 master br0",
        V4.format("br0"),
    )
    assert links.carriers == {"br0", "eno1", "eno2"}


def test_below_a_bond() -> None:
    links = seen(
        *plain("eno1", "eno2", "eno3"),
        "ip link add bond0 type bond && ip link set bond0 up",
        "ip link set eno1 down && ip link set eno1 master bond0",
        V4.format("bond0"),
    )
    assert links.carriers == {"bond0", "eno1"}


def test_below_a_vlan() -> None:
    links = seen(
        *plain("eno1", "eno2"),
        "ip link add link eno1 name eno1.5 type vlan id 5 && ip link set eno1.5 up",
        V6.format("eno1.5"),
    )
    assert links.carriers == {"eno1.5", "eno1"}


def test_behind_a_pair() -> None:
    links = seen(
        *plain("eno1"),
        "ip link add veth0 type veth peer name veth1",
        "ip link set veth0 up && ip link set veth1 up",
        "ip link add br0 type bridge && ip link set br0 up",
        "ip link set veth1 master br0 && ip link set eno1 master br0",
        V4.format("veth0"),
    )
    assert links.carriers == {"veth0", "veth1", "br0", "eno1"}


def test_a_peer_in_another_namespace_is_nobody_here() -> None:
    """Its index means another link here."""
    links = seen(
        *plain("eno1"),
        "unshare --net sleep 5 & sleep 0.3",
        "ip link add veth0 type veth peer name veth1",
        "ip link set veth1 netns $!",
        "ip link set veth0 up",
        "ip route add default dev veth0",
    )
    assert links.carriers == {"veth0"}


COMPAT: Final = "echo {} > /proc/sys/net/ipv4/nexthop_compat_mode"


@pytest.mark.parametrize("compatible", [0, 1])
@pytest.mark.parametrize(
    ("route", "carriers"),
    [
        ("ip route add default nhid 7", {"eno1"}),
        ("ip route add default nhid 9", {"eno1", "eno2"}),
        ("ip -6 route add default nhid 6", {"eno2"}),
        ("ip -6 route add 2001:db8:7::/48 nhid 6", set()),
    ],
)
def test_by_nexthop_objects(compatible: int, route: str, carriers: set[str]) -> None:
    """With the switch off, the kernel names only the object (ip-sysctl.rst)."""
    links = seen(
        "ip link set lo up",
        *plain("eno1", "eno2", "eno3"),
        "ip addr add 10.9.1.1/24 dev eno1 && ip addr add 10.9.2.1/24 dev eno2",
        "ip -6 addr add 2001:db8::1/64 dev eno2 nodad",
        "ip nexthop add id 6 via 2001:db8::2 dev eno2",
        "ip nexthop add id 7 via 10.9.1.2 dev eno1 && ip nexthop add id 8 via 10.9.2.2 dev eno2",
        "ip nexthop add id 5 dev eno3",
        "ip nexthop add id 9 group 7/8",
        COMPAT.format(compatible),
        route,
    )
    assert links.carriers == carriers


def test_states() -> None:
    links = seen(
        *plain("eno1", "eno2"),
        "ip link set eno2 down",
        "ip link add veth0 type veth peer name veth1 && ip link set veth0 up",
    )
    states = {state.name: (state.up, state.admin_up) for state in links.states.values()}
    assert states == {
        "lo": (False, False),
        "eno1": (True, True),
        "eno2": (False, False),
        "veth0": (False, True),
        "veth1": (False, False),
    }


def nics(node: SimNode) -> None:
    for number in (0, 1):
        bdf = f"0000:5e:00.{number}"
        net = (f"eno{number + 1}",)
        node.add(SimDevice(bdf, "8086", "1592", "020000", "ice", net=net, totalvfs=8))


NICS: Final = config(
    {"resourceName": "nic", "selectors": [{"drivers": ["ice"], "linkTypes": ["ether"]}]}
)
LINKS: Final = {"eno1": Link(default_route=True), "eno2": Link()}


@pytest.mark.parametrize(
    ("arguments", "devices"),
    [((), {"0000:5e:00.1"}), (("--allow-default-route",), {"0000:5e:00.0", "0000:5e:00.1"})],
)
def test_the_node_keeps_its_uplink(arguments: tuple[str, ...], devices: set[str]) -> None:
    network.plain()
    with Stack(NICS, nics, arguments=arguments, links=LINKS) as stack:
        status = served(stack, "intel.com/nic")
        assert status.pools["intel.com/nic"].devices.keys() == devices
        assert status.supervisor.problems == ()
