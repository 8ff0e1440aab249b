"""What another configuration would change."""

from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.explain import MatchCounts
from rbln_supervisor.core.matching.plan import Changes, Move, PoolPlan, changed_pools, make_plan
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
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
    assert changed_pools(BEFORE, AFTER) == Changes(
        added=(D,), removed=(C,), changed=(A,), unchanged=(B,)
    )


def test_a_plan() -> None:
    ids = [DeviceId(f"0000:3b:02.{n}") for n in range(4)]
    planned = make_plan(BEFORE, assign(BEFORE.pools, NODE).devices, AFTER, NODE)
    assert dict(planned.pools) == {
        A: PoolPlan("changed", (ids[0],), MatchCounts(5, 1, refused=1, rejected=3)),
        D: PoolPlan("added", (ids[1], ids[2]), MatchCounts(5, 2, refused=1, rejected=2)),
        B: PoolPlan("unchanged", (ids[3],), MatchCounts(5, 1, refused=1, shadowed=3)),
        C: PoolPlan("removed"),
    }
    assert list(planned.pools) == [A, D, B, C]
    assert planned.moves == (
        Move(DeviceId("0000:23:00.0"), C, None),
        Move(ids[1], A, D),
        Move(ids[2], B, D),
    )
    assert planned.stay == 2


def test_nothing_changes() -> None:
    planned = make_plan(BEFORE, assign(BEFORE.pools, NODE).devices, BEFORE, NODE)
    assert planned.moves == ()
    assert planned.stay == 5
    assert {pool.change for pool in planned.pools.values()} == {"unchanged"}
