"""What the kernel says: links that flap, events that flood, and events that say nothing true."""

from random import Random

from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.touch import Touch, Touches
from tests.chaos.world import World
from tests.sim import uevents

OF_LINK: dict[str, Touches] = {
    **{f"ens1f0v{n}": {pools.NIC: Touch.LISTS} for n in range(4)},
    **{f"en3f0s{n}": {pools.SF: Touch.LISTS} for n in range(3)},
    "ens1f0": {pools.NIC: Touch.LISTS},
    "ens2f0": {pools.DPDK: Touch.LISTS},
    "p0": {pools.SF: Touch.LISTS},
}
FLAPS = 50
FLOOD = 5000


def link_down(world: World, rng: Random) -> Plan | None:
    """A link goes down, and comes up."""
    if not world.namespace:
        return None
    name = rng.choice(sorted(OF_LINK))
    return Plan(
        what=f"{name} goes down",
        uses=frozenset({f"link {name}", *OF_LINK[name]}),
        touches=OF_LINK[name],
        inject=lambda: world.set_links(f"link set {name} down"),
        undo=lambda: world.set_links(f"link set {name} up"),
    )


def link_flaps(world: World, rng: Random) -> Plan | None:
    """A link goes down and up many times."""
    if not world.namespace:
        return None
    name = rng.choice(sorted(OF_LINK))
    lines = [f"link set {name} {state}" for _ in range(FLAPS) for state in ("down", "up")]
    return Plan(
        what=f"{name} goes down and up {FLAPS} times",
        uses=frozenset({f"link {name}", *OF_LINK[name]}),
        touches=OF_LINK[name],
        inject=lambda: world.set_links(*lines),
    )


def flood(world: World, rng: Random) -> Plan | None:
    """Thousands of events about devices that did not change."""
    if not world.namespace:
        return None
    bdfs = sorted(world.node.devices)
    frames = [uevents.pci("change", rng.choice(bdfs)) for _ in range(FLOOD)]
    return Plan(
        what=f"{FLOOD} events about devices that did not change",
        uses=frozenset({"flood"}),
        inject=lambda: world.tell(*frames),
    )


def bogus(world: World, rng: Random) -> Plan | None:
    """Thousands of events about nothing that there is."""
    if not world.namespace:
        return None
    frames = [_bogus(rng) for _ in range(FLOOD)]
    return Plan(
        what=f"{FLOOD} events about nothing that there is",
        uses=frozenset({"flood"}),
        inject=lambda: world.tell(*frames),
    )


def _bogus(rng: Random) -> bytes:
    action = rng.choice(("add", "remove", "bind", "unbind", "move", "online", "x" * 100))
    match rng.randrange(4):
        case 0:
            bdf = f"{rng.randrange(65536):04x}:{rng.randrange(256):02x}:{rng.randrange(32):02x}.0"
            return uevents.pci(action, bdf)
        case 1:
            return uevents.frame(action, "/" + "../" * rng.randrange(30) + "etc", "pci")
        case 2:
            return uevents.frame(action, f"/devices/virtual/net/veth{rng.random()}", "net")
        case _:
            return uevents.frame(action, "/devices/\udcff\udcfe" + "a" * 900, "vfio", DRIVER="\x01")
