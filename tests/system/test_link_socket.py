"""Changes of links as the kernel tells them, in a network namespace of the test's own."""

import shlex
import sys
from typing import Final

import pytest

from rbln_worker.contract.device import LinkState
from rbln_worker.host.netlink.link_events import LinkChange
from tests.sim import network
from tests.sim.listener import Listener
from tests.sim.nodes import Link

pytestmark = pytest.mark.system

SMALL: Final = 1
"""The kernel makes of it the least that there is."""


def links(*names: str) -> list[str]:
    return [f"ip link add {name} type {network.plain()}" for name in names]


def listening(*setup: str) -> Listener[LinkChange]:
    return Listener(LinkChange, setup)


def named(name: str, *, up: bool, admin_up: bool = True, kind: str = "") -> LinkState:
    return LinkState(name, up, admin_up, kind=kind or network.plain())


def index_of(listener: Listener[LinkChange], name: str) -> int:
    """Known from what is told when somebody touches it."""
    listener.run(f"ip link set {name} mtu 1400")
    heard = listener.until(lambda change: change.state is not None and change.state.name == name)
    return heard.items[-1].index


def fence(listener: Listener[LinkChange]) -> tuple[LinkChange, ...]:
    """All that was told before something that is told now."""
    listener.run(*links("fence"))
    return listener.until(
        lambda change: change.state is not None and change.state.name == "fence"
    ).items


def test_up_and_down() -> None:
    with listening(*links("eno1")) as listener:
        eno1 = index_of(listener, "eno1")
        listener.run("ip link set eno1 up")
        up = LinkChange(eno1, named("eno1", up=True))
        assert not listener.until(lambda change: change == up).lost
        listener.run("ip link set eno1 down")
        down = LinkChange(eno1, named("eno1", up=False, admin_up=False))
        assert not listener.until(lambda change: change == down).lost


def test_a_master_and_an_alternative_name() -> None:
    with listening(*links("eno1"), "ip link set eno1 up", "ip link add br0 type bridge") as one:
        bridge = index_of(one, "br0")
        one.run("ip link set eno1 master br0")
        one.until(lambda change: change.state is not None and change.state.master == bridge)
        one.run("ip link property add dev eno1 altname enp94s0f0np0")
        names = ("enp94s0f0np0",)
        one.until(lambda change: change.state is not None and change.state.altnames == names)
        one.run("ip link set eno1 nomaster")
        one.until(
            lambda change: (
                change.state is not None
                and (change.state.name, change.state.master) == ("eno1", None)
            )
        )


def test_a_new_link_and_a_new_name() -> None:
    with listening() as listener:
        listener.run(*links("eno1"))
        first = listener.until(lambda change: change.state is not None).items[-1]
        assert first.state == named("eno1", up=False, admin_up=False)
        listener.run("ip link set eno1 name lan0")
        named_anew = LinkChange(first.index, named("lan0", up=False, admin_up=False))
        listener.until(lambda change: change == named_anew)


def test_a_lost_carrier() -> None:
    """Nobody has set it down; the other end has gone."""
    with listening(*network.commands({"eno1": Link(pair=True)})) as listener:
        eno1 = index_of(listener, "eno1")
        listener.run(f"ip link set {network.peer('eno1')} down")
        lost = LinkChange(eno1, named("eno1", up=False, kind="veth"))
        listener.until(lambda change: change == lost)
        listener.run(f"ip link set {network.peer('eno1')} up")
        back = LinkChange(eno1, named("eno1", up=True, kind="veth"))
        listener.until(lambda change: change == back)


def test_a_link_that_is_deleted() -> None:
    with listening(*links("eno1", "eno2")) as listener:
        eno1 = index_of(listener, "eno1")
        listener.run("ip link del eno1")
        heard = listener.until(lambda change: change.state is None)
        assert heard.items[-1] == LinkChange(eno1, None)


def test_a_link_that_moves_to_another_namespace() -> None:
    with listening(*links("eno1")) as listener:
        eno1 = index_of(listener, "eno1")
        listener.run(
            "unshare --net sleep 60 & other=$!",
            "ours=$(readlink /proc/self/ns/net)",
            'until [ "$(readlink /proc/$other/ns/net)" != "$ours" ]; do :; done',
            "ip link set eno1 netns $other",
            "kill $other",
        )
        heard = listener.until(lambda change: change.state is None)
        assert heard.items[-1] == LinkChange(eno1, None)


def test_a_port_that_leaves_its_bridge_is_still_there() -> None:
    """The bridge says RTM_DELLINK of it, with its own family."""
    with listening(*links("eno1"), "ip link add br0 type bridge") as listener:
        eno1 = index_of(listener, "eno1")
        listener.run("ip link set eno1 master br0", "ip link set eno1 nomaster")
        heard = fence(listener)
        assert eno1 in {change.index for change in heard}
        assert None not in {change.state for change in heard}


def test_an_overflow_is_told_and_passes() -> None:
    with Listener(LinkChange, links("eno1"), buffer_bytes=SMALL) as listener:
        listener.run(*(f"ip link set eno1 mtu {1300 + number}" for number in range(50)))
        heard = listener.drain()
        assert heard.lost
        assert len(heard.items) < 50
        listener.run("ip link set eno1 name lan0")
        heard = listener.drain()
        assert not heard.lost
        assert [change.state and change.state.name for change in heard.items] == ["lan0"]


FORGE: Final = (
    "import socket, struct; s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); "
    "body = struct.pack('=BxHiII', 0, 1, 4711, 1, 0) + struct.pack('=HH', 8, 3) + b'new\\0' "
    "+ struct.pack('=HHI', 5, 16, 6); "
    "s.sendto(struct.pack('=IHHII', 16 + len(body), 16, 0, 0, 0) + body, (0, 1))"
)
"""Sends RTM_NEWLINK to the group, as any process may that is privileged in the namespace."""


def test_what_a_process_says_is_not_believed() -> None:
    with listening() as listener:
        listener.run(shlex.join([sys.executable, "-c", FORGE]), *links("eno1"))
        heard = listener.until(lambda change: change.state is not None)
        assert not heard.lost
        assert 4711 not in {change.index for change in heard.items}
