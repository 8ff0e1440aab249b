"""Devices that come and go, move, lose their nodes, and fall sick."""

from collections.abc import Callable, Iterable
from random import Random

from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.faults.pipes import hang
from tests.chaos.touch import Touch
from tests.chaos.world import World

OF: dict[str, tuple[str, ...]] = {
    name: pools.devices_of(name) for name in pools.NAMES if name != pools.SF
}
"""Devices that are functions, by pool."""
NPUS = {**{d: f"rbln{n}" for n, d in enumerate(pools.ATOMS)}} | {
    d: f"rbln{4 + n}" for n, d in enumerate((*pools.CARDS, *pools.CLAIMED_NPUS, *pools.OTHER_NPUS))
}


def unplugged(world: World, rng: Random) -> Plan:
    """A function is unplugged, and plugged in again."""
    pool, bdf = _any(rng)
    device = world.node.devices[bdf]

    def inject() -> None:
        world.node.remove(bdf)
        world.tell_of("remove", bdf)

    def undo() -> None:
        world.node.add(device)
        world.tell_of("add", bdf)
        world.tell_of("bind", bdf)

    return _plan(world, f"{bdf} is unplugged", {pool: (bdf,)}, inject, undo)


def parent_unplugged(world: World, _: Random) -> Plan:
    """The function whose sub-functions are a pool goes, and comes."""
    device = world.node.devices[pools.SF_PF]

    def inject() -> None:
        world.node.remove(pools.SF_PF)
        world.tell_of("remove", pools.SF_PF)

    def undo() -> None:
        world.node.add(device)
        world.tell_of("bind", pools.SF_PF)

    what = f"{pools.SF_PF} is unplugged with its sub-functions"
    return _plan(world, what, {pools.SF: pools.SFS}, inject, undo)


def unbound(world: World, rng: Random) -> Plan:
    """A driver is unbound, and bound again."""
    pool, bdf = _any(rng)
    driver = world.node.devices[bdf].driver
    assert driver is not None

    def inject() -> None:
        world.node.unbind(bdf)
        world.tell_of("unbind", bdf)

    def undo() -> None:
        world.node.bind(bdf, driver)
        world.tell_of("bind", bdf)

    return _plan(world, f"the driver of {bdf} is unbound", {pool: (bdf,)}, inject, undo)


def moves(world: World, rng: Random) -> Plan:
    """A device gets the driver that another pool asks for, and its own again."""
    pool, other = rng.choice(
        ((pools.ATOM, pools.VM), (pools.CARD, pools.VM), (pools.NIC, pools.DPDK))
    )
    bdf = rng.choice(OF[pool])
    driver = world.node.devices[bdf].driver
    assert driver is not None

    def inject() -> None:
        world.node.bind(bdf, "vfio-pci")
        world.tell_of("bind", bdf)

    def undo() -> None:
        world.node.bind(bdf, driver)
        world.tell_of("bind", bdf)

    return Plan(
        what=f"{bdf} moves from {pool} to {other}",
        uses=frozenset({bdf, pool, other}),
        touches={pool: Touch.LISTS, other: Touch.LISTS},
        inject=inject,
        undo=undo,
        seen=lambda: world.is_healthy(other, bdf) and not world.is_healthy(pool, bdf),
    )


def node_removed(world: World, rng: Random) -> Plan:
    """A node below /dev goes, and comes."""
    nodes = {f"rbln{n}": (pools.ATOM, bdf) for n, bdf in enumerate(pools.ATOMS)}
    nodes |= {f"rbln{4 + n}": (pools.CARD, bdf) for n, bdf in enumerate(pools.CARDS)}
    nodes |= {f"rbln{8 + n}": (pools.CLAIMED, bdf) for n, bdf in enumerate(pools.CLAIMED_NPUS)}
    nodes |= {f"vfio/{80 + n}": (pools.VM, bdf) for n, bdf in enumerate(pools.VMS)}
    nodes |= {f"vfio/{40 + n}": (pools.DPDK, bdf) for n, bdf in enumerate(pools.DPDKS)}
    nodes |= {f"infiniband/uverbs{2 + n}": (pools.SF, sf) for n, sf in enumerate(pools.SFS)}
    name = rng.choice(sorted(nodes))
    pool, device = nodes[name]
    return _plan(
        world,
        f"/dev/{name} is removed",
        {pool: (device,)},
        lambda: world.node.remove_dev_node(name),
        lambda: world.node.add_dev_node(name),
    )


def shared_node_removed(world: World, rng: Random) -> Plan:
    """A node that many devices need goes, and comes."""
    npus = {
        pools.ATOM: pools.ATOMS,
        pools.CARD: pools.CARDS,
        **{pool: rest.devices for pool, rest in pools.DRA.items()},
    }
    virtual = {pools.VM: pools.VMS, pools.DPDK: pools.DPDKS}
    name, whose = rng.choice(
        (("rsd0", npus), ("vfio/vfio", virtual), ("vhost-net", {pools.DPDK: pools.DPDKS}))
    )
    return _plan(
        world,
        f"/dev/{name} is removed",
        whose,
        lambda: world.node.remove_dev_node(name),
        lambda: world.node.add_dev_node(name),
    )


def status(world: World, rng: Random) -> Plan:
    """An NPU says that it is sick, busy, or something that nobody knows."""
    pool = rng.choice((pools.ATOM, pools.CARD, *pools.DRA))
    bdf = rng.choice(OF[pool])
    text = rng.choice(
        ("3\n", "1\n", "2\n", "4\n", "99\n", "", "\0\xff", "garbage", "-1\n", "9" * 4096)
    )

    def inject() -> None:
        world.node.set_class_attribute(NPUS[bdf], "status", text)

    def undo() -> None:
        world.node.set_class_attribute(NPUS[bdf], "status", "0\n")

    return Plan(
        what=f"the status of {bdf} is {text[:8]!r}",
        uses=frozenset({bdf, pool}),
        touches={pool: Touch.LISTS},
        inject=inject,
        undo=undo,
    )


def file_hangs(world: World, rng: Random) -> Plan:
    """A file that the pool's worker reads does not answer for a while."""
    pool = rng.choice((pools.ATOM, pools.CARD))
    bdf = rng.choice(OF[pool])
    home, npu = world.node.home(bdf), NPUS[bdf]
    path = rng.choice((f"{home}/pools", f"{home}/rebellions/{npu}/status"))
    inject, undo = hang(world, path)

    def begin() -> None:
        inject()
        world.tell_of("change", bdf)

    return Plan(
        what=f"reads of {path} hang",
        uses=frozenset({bdf, pool}),
        touches={pool: Touch.LISTS},
        inject=begin,
        undo=undo,
        seen=(lambda: not world.is_healthy(pool, bdf)) if _lasts(world, rng) else None,
        seen_s=15.0,
    )


def look_hangs(world: World, rng: Random) -> Plan:
    """A file that a look at the node reads does not answer for a while."""
    bdf = rng.choice([bdf for bdfs in OF.values() for bdf in bdfs])
    inject, undo = hang(world, f"{world.node.home(bdf)}/modalias")

    def begin() -> None:
        inject()
        world.tell_of("change", bdf)

    def given_up() -> bool:
        status = world.status()
        return status is not None and any("was ended" in p.text for p in status.supervisor.problems)

    return Plan(
        what=f"a look at the node hangs at {bdf}",
        uses=frozenset({"look", *pools.NAMES}),
        inject=begin,
        undo=undo,
        seen=given_up if _lasts(world, rng) else None,
        seen_s=20.0,
    )


def sriov(world: World, rng: Random) -> Plan:
    """All virtual functions of a PF go, and come: sriov_numvfs."""
    pf, pool = rng.choice(((pools.KERNEL_PF, pools.NIC), (pools.DPDK_PF, pools.DPDK)))
    bdfs = OF[pool]

    def inject() -> None:
        world.node.disable_vfs(pf)
        for bdf in bdfs:
            world.tell_of("remove", bdf)

    def undo() -> None:
        for vf in pools.vfs(pf):
            world.node.add(vf)
            world.tell_of("add", vf.bdf)
            world.tell_of("bind", vf.bdf)

    return _plan(world, f"sriov_numvfs of {pf}: 0", {pool: bdfs}, inject, undo)


def _lasts(world: World, rng: Random) -> bool:
    """Whether a hang outlasts the deadline of whoever waits for it."""
    return rng.random() < 0.25 and world.patient  # drawn in any case, so that a seed says the same


def _any(rng: Random) -> tuple[str, str]:
    pool = rng.choice(sorted(OF))
    return pool, rng.choice(OF[pool])


def _plan(
    world: World,
    what: str,
    whose: dict[str, tuple[str, ...]],
    inject: Callable[[], None],
    undo: Callable[[], None],
) -> Plan:
    """A plan after which these devices of these pools are not given out."""

    def seen() -> bool:
        return not any(
            world.is_healthy(pool, device) for pool, devices in whose.items() for device in devices
        )

    return Plan(
        what=what,
        uses=frozenset((*whose, *_each(whose.values()))),
        touches=dict.fromkeys(whose, Touch.LISTS),
        inject=inject,
        undo=undo,
        seen=seen,
    )


def _each(devices: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(device for some in devices for device in some)
