"""What is gone stays listed for a while with its reason; what nobody wants does not."""

import msgspec
import pytest

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.workers.desired_state import (
    DesiredState,
    from_orphan,
    make_snapshot,
    next_removal,
    reconcile,
)
from rbln_worker.contract.device import DeviceId, Network
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.messages import Snapshot
from rbln_worker.contract.pool import PoolName
from tests.unit.inventory import ETHER, below, config, node, npu, pf, pool, sf, vf

A = PoolName("x.io/a")
GRACE_S = 300.0
VF, SF = DeviceId("0000:3b:02.0"), DeviceId("mlx5_core.sf.1")


def turn(
    before: DesiredState, configured: NodeConfig, found: NodeInventory, now: float = 0.0
) -> DesiredState:
    """The roster of pool a after one more look."""
    assigned = assign(configured.pools, found)
    first = configured.pools[0]
    return reconcile(
        *(before, first, assigned.devices[A], assigned.taken, found), now=now, grace_s=GRACE_S
    )


def begin(configured: NodeConfig, found: NodeInventory) -> DesiredState:
    return turn(DesiredState(configured.pools[0].spec), configured, found)


NICS = config(pool("a", "netDevice", below("p0#0", drivers=("iavf",), link_types=("ether",))))
SFS = config(pool("a", "auxNetDevice", below("p0", aux_types=("sf",))))
NPUS = config(pool("a", "accelerator", SelectorObject(vendors=("1eff",))))

DEFAULT_ROUTE = Network(link_type="ether", default_route=True)

# A pool, what it had, what is there then → why its only device is gone.
GONE: list[tuple[NodeConfig, NodeInventory, NodeInventory, str]] = [
    (NICS, node(vf(0)), node(), "unplugged"),
    (NPUS, node(npu()), node(), "unplugged"),
    (SFS, node(pf(), subfunctions=[sf(1)]), node(pf()), "unplugged"),
    (SFS, node(pf(), subfunctions=[sf(1)]), node(), "unplugged"),
    (
        NICS,
        node(vf(0)),
        NodeInventory(unreadable={VF: "driver: no link"}),
        "can't be read: driver: no link",
    ),
    (
        SFS,
        node(pf(), subfunctions=[sf(1)]),
        msgspec.structs.replace(node(pf()), unreadable={SF: "sfnum: gone"}),
        "can't be read: sfnum: gone",
    ),
    (
        SFS,
        node(pf(), subfunctions=[sf(1)]),
        NodeInventory(unreadable={"0000:3b:00.0": "modalias: odd"}),
        "can't be read: modalias: odd",
    ),
    (NICS, node(vf(0)), node(vf(0, driver=None)), "no driver is bound to it"),
    (
        NICS,
        node(vf(0)),
        node(vf(0, driver="vfio-pci")),
        "driver vfio-pci is bound to it, iavf was",
    ),
    (
        NICS,
        node(vf(0)),
        node(vf(0, network=Network(link_type="infiniband"))),
        "it changed: the pool's linkTypes reject it, it has infiniband",
    ),
    (
        NICS,
        node(vf(0)),
        node(vf(0, network=Network())),
        "it changed: the pool's linkTypes reject it, it has none",
    ),
]


@pytest.mark.parametrize(("configured", "before", "after", "why"), GONE)
def test_what_is_gone_stays_for_a_while_with_its_reason(
    configured: NodeConfig, before: NodeInventory, after: NodeInventory, why: str
) -> None:
    first = begin(configured, before)
    second = turn(first, configured, after, now=10.0)
    (gone,) = second.devices.values()
    assert gone.gone == why
    assert msgspec.structs.replace(gone, gone=None) == next(iter(first.devices.values()))
    assert second.generation == 2
    third = turn(second, configured, after, now=10.0 + GRACE_S - 1)
    assert (third.generation, third.devices) == (2, second.devices)
    assert next_removal(third, GRACE_S) == 10.0 + GRACE_S
    fourth = turn(third, configured, after, now=10.0 + GRACE_S)
    assert fourth.devices == {}


def test_the_nodes_route_takes_a_device_away() -> None:
    (gone,) = turn(
        begin(NICS, node(vf(0))), NICS, node(vf(0, network=DEFAULT_ROUTE))
    ).devices.values()
    assert gone.gone
    assert "default route" in gone.gone


def test_with_several_objects_none_is_blamed() -> None:
    two = config(pool("a", "netDevice", below("p0#0"), below("p1")))
    moved = msgspec.structs.replace(vf(0), index=1)
    (gone,) = turn(begin(two, node(vf(0))), two, node(moved)).devices.values()
    assert gone.gone == "it changed: no selector object of the pool matches it any more"


@pytest.mark.parametrize(("configured", "before", "after", "why"), GONE)
def test_what_comes_back_was_never_gone(
    configured: NodeConfig, before: NodeInventory, after: NodeInventory, why: str
) -> None:
    first = begin(configured, before)
    back = turn(turn(first, configured, after, now=1.0), configured, before, now=2.0)
    assert back.devices == first.devices
    assert not back.gone_since


NOT_WANTED: list[tuple[NodeConfig, NodeInventory, NodeConfig]] = [
    (NICS, node(vf(0)), config(pool("a", "netDevice", below("p0#1")))),
    (SFS, node(pf(), subfunctions=[sf(1)]), config(pool("a", "auxNetDevice", below("p0#1")))),
    (NPUS, node(npu()), config(pool("a", "accelerator", SelectorObject(vendors=("8086",))))),
    (NPUS, node(npu()), config(pool("a", "netDevice"))),
]


@pytest.mark.parametrize(("before", "found", "after"), NOT_WANTED)
def test_what_the_configuration_does_not_want_leaves_at_once(
    before: NodeConfig, found: NodeInventory, after: NodeConfig
) -> None:
    first = begin(before, found)
    assert len(first.devices) == 1
    second = turn(first, after, found)
    assert second.devices == {}


def test_facts_that_no_selector_sees_do_not_hide_that_nobody_wants_it() -> None:
    """A container has the interface now, and the new configuration has read an ACPI index."""
    later = msgspec.structs.replace(
        vf(0, network=msgspec.structs.replace(ETHER, interfaces=())), acpi_index="7"
    )
    after = config(pool("a", "netDevice", SelectorObject(acpi_indexes=("8",))))
    assert turn(begin(NICS, node(vf(0))), after, node(later)).devices == {}


def test_what_another_pool_has_now_leaves_at_once() -> None:
    first = begin(NICS, node(vf(0)))
    two = config(
        pool("a", "netDevice", below("p0#0", drivers=("iavf",))),
        pool("b", "netDevice", SelectorObject(drivers=("vfio-pci",))),
    )
    assert turn(first, two, node(vf(0, driver="vfio-pci"))).devices == {}


def test_other_selectors_for_the_same_devices_are_no_news() -> None:
    first = begin(NICS, node(vf(0)))
    wider = config(pool("a", "netDevice"))
    second = turn(first, wider, node(vf(0)))
    assert (second.generation, second.selectors) == (1, (SelectorObject(),))
    # and they count from then on: without them it would not have been wanted
    third = turn(second, NICS, node(vf(0, driver="vfio-pci")))
    assert third.devices == {}


def test_what_an_object_gives_is_news() -> None:
    first = begin(NICS, node(vf(0)))
    vhost = config(pool("a", "netDevice", below("p0#0", need_vhost_net=True)))
    second = turn(first, vhost, node(vf(0)))
    (device,) = second.devices.values()
    assert device.grants.vhost_net
    assert make_snapshot(second, "s") == Snapshot("s", 2, vhost.pools[0].spec, (device,))


# What an earlier supervisor's worker holds


def held(roster: DesiredState, *, now: float = 0.0) -> DesiredState:
    """What the next supervisor makes of a worker that holds this."""
    return from_orphan(roster.pool, roster.devices.values(), None, now=now)


@pytest.mark.parametrize(("configured", "before", "after", "why"), GONE)
def test_what_was_gone_under_an_earlier_supervisor_has_its_grace_time_from_now_on(
    configured: NodeConfig, before: NodeInventory, after: NodeInventory, why: str
) -> None:
    gone = turn(begin(configured, before), configured, after, now=10.0)
    again = turn(held(gone, now=100.0), configured, after, now=100.0)
    assert again.devices == gone.devices
    assert again.generation == 1
    assert next_removal(again, GRACE_S) == 100.0 + GRACE_S
    assert turn(again, configured, after, now=99.0 + GRACE_S).devices == gone.devices
    assert not turn(again, configured, after, now=100.0 + GRACE_S).devices


@pytest.mark.parametrize(("configured", "before", "after", "why"), GONE)
def test_what_went_without_a_supervisor_is_gone(
    configured: NodeConfig, before: NodeInventory, after: NodeInventory, why: str
) -> None:
    (gone,) = turn(held(begin(configured, before)), configured, after, now=1.0).devices.values()
    assert gone.gone == why


def test_the_same_devices_are_no_news_to_the_next_supervisor() -> None:
    first = begin(NPUS, node(npu()))
    second = turn(held(first), NPUS, node(npu()), now=5.0)
    assert (second.devices, second.generation, second.gone_since) == (first.devices, 1, {})
    assert second.selectors == NPUS.pools[0].selectors


def test_what_another_file_does_not_want_left_with_its_supervisor() -> None:
    other = config(pool("a", "accelerator", SelectorObject(vendors=("8086",))))
    assert not turn(held(begin(NPUS, node(npu()))), other, node(npu()), now=1.0).devices


def test_what_a_worker_holds_comes_after_what_was_known_of_its_pool() -> None:
    before = begin(NPUS, node(npu()))
    assert from_orphan(before.pool, (), before, now=0.0).generation == before.generation + 1
