"""What another configuration would change, and what can't be told beforehand."""

from itertools import product

from rbln_supervisor import node as looking
from rbln_supervisor.core.assign import assign
from rbln_supervisor.core.configuration.config import NodeConfig
from rbln_supervisor.core.configuration.pool import PoolConfig
from rbln_supervisor.core.configuration.selectors import SelectorObject
from rbln_supervisor.core.difference import Changes, Move, PoolPlan, changes, plan
from rbln_supervisor.core.explain import Tally
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from rbln_worker.host.inventory import Needs
from tests.unit.inventory import below, config, node, npu, pf, pool, sf, vf

A, B, C, D = (PoolName(f"x.io/{name}") for name in "abcd")
NODE = node(npu(), pf(), *(vf(index) for index in range(4)), subfunctions=[sf(1)])
BEFORE = config(
    pool("a", "netDevice", below("p0#0-1")), pool("b", "netDevice"), pool("c", "accelerator")
)
AFTER = config(
    pool("a", "netDevice", below("p0#0")), pool("d", "netDevice", below("p0#1-2")), BEFORE.pools[1]
)


def test_pools_by_what_becomes_of_them() -> None:
    assert changes(BEFORE, AFTER) == Changes(added=(D,), removed=(C,), changed=(A,), unchanged=(B,))


def test_a_plan() -> None:
    ids = [DeviceId(f"0000:3b:02.{n}") for n in range(4)]
    planned = plan(BEFORE, assign(BEFORE.pools, NODE).devices, AFTER, NODE)
    assert dict(planned.pools) == {
        A: PoolPlan("changed", (ids[0],), Tally(5, 1, refused=1, turned_away=3)),
        D: PoolPlan("added", (ids[1], ids[2]), Tally(5, 2, refused=1, turned_away=2)),
        B: PoolPlan("unchanged", (ids[3],), Tally(5, 1, refused=1, earlier=3)),
        C: PoolPlan("removed"),
    }
    assert list(planned.pools) == [A, D, B, C]
    assert planned.moves == (
        Move(DeviceId("0000:23:00.0"), C, None),
        Move(ids[1], A, D),
        Move(ids[2], B, D),
    )
    assert planned.stay == 2
    assert planned.unread == ()


def test_nothing_changes() -> None:
    planned = plan(BEFORE, assign(BEFORE.pools, NODE).devices, BEFORE, NODE)
    assert planned.moves == ()
    assert planned.stay == 5
    assert {pool.change for pool in planned.pools.values()} == {"unchanged"}


def unread(before: NodeConfig, after: NodeConfig) -> tuple[str, ...]:
    return plan(before, {}, after, NODE).unread


def test_facts_that_were_not_read() -> None:
    plain = config(pool("a", "netDevice"))
    asking = config(
        pool(
            "a",
            "netDevice",
            SelectorObject(acpi_indexes=("1",)),
            SelectorObject(ddp_profiles=("x",)),
            SelectorObject(is_rdma=True),
        ),
    )
    assert unread(plain, asking) == (
        "acpiIndexes: ACPI indexes were not read, no pool that is served now asks for them",
        "ddpProfiles: DDP profiles were not read, no pool that is served now asks for them",
        "isRdma: RDMA devices that lie in other network namespaces were not read, "
        "no pool that is served now asks for them",
    )
    assert unread(asking, plain) == unread(asking, asking) == ()


def test_types_that_were_not_looked_for() -> None:
    npus, nics = config(pool("a", "accelerator")), config(pool("a", "netDevice"))
    said = "no pool that is served now is of this type, its devices were not read"
    assert unread(npus, nics) == (f"netDevice: {said}",)
    assert unread(nics, npus) == (f"accelerator: {said}",)
    assert unread(nics, config(pool("a", "auxNetDevice"))) == (f"auxNetDevice: {said}",)


def test_doubts_are_those_of_the_look() -> None:
    """What is said not to be known is what a look for the served pools does not ask for."""
    kinds = [
        pool("a", device_type, selector)
        for device_type in ("accelerator", "netDevice", "auxNetDevice")
        for selector in (
            SelectorObject(),
            SelectorObject(acpi_indexes=("1",)),
            SelectorObject(ddp_profiles=("1",)),
            SelectorObject(is_rdma=True),
        )
    ]
    for before, after in product(kinds, kinds):
        asks_more = not covers(needs(before), needs(after))
        assert bool(unread(config(before), config(after))) == asks_more


def needs(configured: PoolConfig) -> Needs:
    return looking.needs([configured], allow_default_route=False)


def covers(read: Needs, wanted: Needs) -> bool:
    flags = ("acpi_indexes", "subfunctions", "rdma", "ddp_profiles", "default_routes")
    assert {*flags, "base_classes"} == set(Needs.__struct_fields__)
    return wanted.base_classes <= read.base_classes and all(
        getattr(read, flag) or not getattr(wanted, flag) for flag in flags
    )
