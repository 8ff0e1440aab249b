"""When a node is ready, and what is said where it is not."""

import pytest

from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PoolState,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_supervisor.exporter.readiness import node_readiness


def status(*, ready: bool, **pools: PoolStatus) -> NodeStatus:
    return NodeStatus(SupervisorStatus(1, "v", 1.0, ready=ready), pools)


def pool(state: PoolState, reason: str = "", devices: int = 1) -> PoolStatus:
    listed = {str(n): DeviceStatus("Healthy", "", None) for n in range(devices)}
    return PoolStatus(state, state == "serving", None, reason, None, WorkerStatus(), listed)


def test_pools_that_serve_and_pools_that_have_no_hardware() -> None:
    found = node_readiness(status(ready=True, a=pool("serving"), b=pool("waiting", "no device", 0)))
    assert found == (True, ("ready", "a: serving", "b: waiting: no device"))


@pytest.mark.parametrize("state", ["starting", "waiting", "backoff"])
def test_a_pool_that_is_not_listed_is_named(state: PoolState) -> None:
    found = node_readiness(status(ready=False, a=pool("serving"), b=pool(state, "why")))
    assert found == (False, ("not ready: b", "a: serving", f"b: {state}: why"))


def test_before_the_first_discovery_the_node_is_not_ready() -> None:
    ready, (head, *_) = node_readiness(status(ready=False, a=pool("waiting", "not looked at", 0)))
    assert (ready, "no discovery has ended" in head) == (False, True)


def test_an_invalid_pool_is_said_and_keeps_nobody() -> None:
    found = node_readiness(status(ready=True, a=pool("serving"), b=pool("invalid", "b.c: bad", 0)))
    assert found == (True, ("ready", "a: serving", "b: invalid: b.c: bad"))
