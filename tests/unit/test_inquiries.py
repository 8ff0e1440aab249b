"""What the supervisor answers to questions that change nothing."""

import json
from typing import Any

from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.control import queries
from rbln_supervisor.core.control.protocol import (
    DryRun,
    DryRunReply,
    ErrorReply,
    Explain,
    ExplainReply,
    Reply,
)
from rbln_supervisor.core.device_types.base import RefusalReason
from rbln_supervisor.core.matching.plan import Move
from rbln_supervisor.core.status import DeviceStatus, PoolStatus
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pod_devices import PodDevice, ResourceHolders
from rbln_worker.contract.pool import PoolName
from tests.unit.inventory import config, node, pool, vf

A = PoolName("x.io/a")
SERVED = config(pool("a", "netDevice", SelectorObject(drivers=("iavf",))))
THERE = Device(DeviceId("0000:3b:02.0"), vf(0))
GONE = Device(DeviceId("0000:3b:02.1"), vf(1), gone="unplugged")
ROSTERS = {A: DesiredState(SERVED.pools[0].spec, {THERE.id: THERE, GONE.id: GONE})}


FINE = DeviceStatus("Healthy", "", 0)
UNPLUGGED = DeviceStatus("Unhealthy", "unplugged", 0, HealthPhase.UNHEALTHY, "sysfs", 5.0)
STATUSES: dict[str, PoolStatus] = {
    A: PoolStatus("serving", devices={THERE.id: FINE, GONE.id: UNPLUGGED})
}


def answer(
    request: Explain | DryRun,
    found: NodeInventory = node(vf(0)),  # noqa: B008
    held: ResourceHolders = ResourceHolders(),  # noqa: B008
) -> Reply:
    match request:
        case Explain(device=name):
            return queries.explain_reply(name, SERVED, found, ROSTERS, STATUSES)
        case DryRun():
            wanted = queries.parse_dry_run(request, "flag.io")
            if isinstance(wanted, DryRunReply):
                return wanted
            return queries.plan_reply(wanted, SERVED, found, ROSTERS, held)


def file(*pools: dict[str, Any]) -> bytes:
    return json.dumps({"resourceList": pools}).encode()


def test_a_device_that_is_there() -> None:
    reply = answer(Explain("3b:02.0"))
    assert isinstance(reply, ExplainReply)
    assert (reply.explanation.device, reply.explanation.pool) == (THERE.id, A)
    assert reply.explanation.health == FINE


def test_a_device_that_is_still_listed() -> None:
    reply = answer(Explain(GONE.id))
    assert isinstance(reply, ExplainReply)
    assert reply.explanation.refusal is RefusalReason.GONE
    assert reply.explanation.health == UNPLUGGED


def test_a_device_that_nobody_knows() -> None:
    assert answer(Explain("0000:99:00.0")) == ErrorReply(
        (
            "0000:99:00.0: no such device at the last discovery; expected an ID such as "
            "0000:3b:00.0 or mlx5_core.sf.4, an interface, an RDMA device, a node below /dev, or "
            "an IOMMU group",
        )
    )


def test_nothing_is_known_before_the_first_look() -> None:
    assert queries.explain_reply("x", SERVED, None, {}, {}) == ErrorReply(
        ("no discovery has succeeded yet: rbln-ctl status shows why",)
    )


def test_a_dry_run_counts_what_is_there() -> None:
    reply = answer(DryRun(file({"resourceName": "b", "selectors": {}})))
    assert isinstance(reply, DryRunReply)
    assert reply.plan
    assert {name: pool.change for name, pool in reply.plan.pools.items()} == {
        "flag.io/b": "added",
        A: "removed",
    }
    assert reply.plan.moves == (Move(THERE.id, A, PoolName("flag.io/b")),)


def test_a_dry_run_tells_who_has_what_it_would_take() -> None:
    holding = PodDevice(A, THERE.id, "ml", "train-0", "main")
    request = DryRun(file({"resourceName": "b", "selectors": {}}))
    reply = answer(request, held=ResourceHolders((holding,)))
    assert isinstance(reply, DryRunReply)
    assert reply.conflicts[0] == (
        f"{THERE.id}: pod ml/train-0, container main, uses it as {A}, and it would be in flag.io/b"
    )


def test_a_dry_run_has_the_prefix_that_it_is_told() -> None:
    reply = answer(DryRun(file({"resourceName": "a", "selectors": {"x": 1}}), prefix="x.io"))
    assert isinstance(reply, DryRunReply)
    assert reply.plan
    assert list(reply.plan.pools) == [A]
    assert reply.warnings == ("resourceList[0].selectors.x: unknown key, ignored",)


def test_a_dry_run_is_as_strict_as_a_reload() -> None:
    good = {"resourceName": "a", "selectors": {}}
    bad = {"resourceName": "b", "selectors": {"pfNames": ["#"]}, "x": 1}
    assert answer(DryRun(file(good, bad))) == DryRunReply(
        None,
        ('resourceList[1].selectors.pfNames[0]: expected like p0#0,2-7,9, got "#"',),
        ("resourceList[1].x: unknown key, ignored",),
    )
    assert answer(DryRun(b"{")) == DryRunReply(
        None, ("line 1, column 2: no JSON: Expecting property name enclosed in double quotes",)
    )
