"""What another configuration would change."""

import msgspec
import pytest

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.explain import Decision
from rbln_supervisor.core.matching.in_use import removal_conflicts
from rbln_supervisor.core.matching.plan import (
    Move,
    PoolPlan,
    changed_pools,
    devices_removed,
    make_plan,
)
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pod_devices import PodDevice, ResourceHolders
from rbln_worker.contract.pool import DraExport, PoolName
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
    expected = {A: "changed", D: "added", B: "unchanged", C: "removed"}
    assert changed_pools(BEFORE, AFTER) == expected


def test_a_plan() -> None:
    ids = [DeviceId(f"0000:3b:02.{n}") for n in range(4)]
    planned = make_plan(BEFORE, assign(BEFORE.pools, NODE).devices, AFTER, NODE)
    matched, refused = Decision.MATCHED, Decision.REFUSED
    shadowed, rejected = Decision.SHADOWED, Decision.REJECTED
    assert dict(planned.pools) == {
        A: PoolPlan("changed", (ids[0],), {matched: 1, refused: 1, rejected: 3}),
        D: PoolPlan("added", (ids[1], ids[2]), {matched: 2, refused: 1, rejected: 2}),
        B: PoolPlan("unchanged", (ids[3],), {matched: 1, refused: 1, shadowed: 3}),
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


def exported(driver: str) -> NodeConfig:
    """Pool c with this DRA driver; empty: by the device-plugin API."""
    plain = pool("c", "accelerator")
    dra = DraExport(driver) if driver else None
    return config(msgspec.structs.replace(plain, spec=msgspec.structs.replace(plain.spec, dra=dra)))


@pytest.mark.parametrize(
    ("before", "after", "how", "place"),
    [
        ("", "c.x.io", "as x.io/c", "by DRA (c.x.io)"),
        ("c.x.io", "", "by claim ml/c of c.x.io", "by the device-plugin API"),
        ("c.x.io", "d.x.io", "by claim ml/c of c.x.io", "by DRA (d.x.io)"),
    ],
)
def test_an_export_is_not_changed_while_pods_hold_devices(
    before: str, after: str, how: str, place: str
) -> None:
    old, new = exported(before), exported(after)
    served = assign(old.pools, NODE).devices
    lost = devices_removed(old, served, new, NODE)
    device = "0000:23:00.0"
    pods = [
        PodDevice("x.io/c", device, "ml", "p", "main"),
        PodDevice("c.x.io", device, "ml", "p", "main", claim="ml/c"),
    ]
    held = ResourceHolders(tuple(one for one in pods if bool(one.claim) == bool(before)))
    assert removal_conflicts(lost, held) == (
        f"{device}: pod ml/p, container main, uses it {how}, and it would be exported {place}",
    )
    planned = make_plan(old, served, new, NODE)
    assert (planned.pools[C].change, planned.pools[C].new_export) == ("changed", place)
    assert (planned.stay, planned.moves) == (1, ())
    assert devices_removed(old, served, old, NODE) == {}
