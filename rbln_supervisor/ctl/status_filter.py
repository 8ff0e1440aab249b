"""A filter of the status."""

from typing import NamedTuple

import msgspec

from rbln_supervisor.core.events.query import matches_name
from rbln_supervisor.core.status import DeviceStatus, NodeStatus
from rbln_worker.contract.health import HealthPhase


class StatusFilter(NamedTuple):
    """The filter of ``rbln-ctl status``."""

    pool: str | None = None
    """With or without its prefix; None: all."""
    unhealthy: bool = False
    """True: only devices that are not healthy, and pools that have such or that do not serve."""


def filter_status(status: NodeStatus, choice: StatusFilter) -> NodeStatus:
    """Return the status reduced to the selected pools and devices, in the same structure."""
    pools = {
        name: pool
        for name, pool in status.pools.items()
        if choice.pool is None or matches_name(name, choice.pool)
    }
    if choice.unhealthy:
        pools = {
            name: msgspec.structs.replace(
                pool, devices={d: one for d, one in pool.devices.items() if not is_well(one)}
            )
            for name, pool in pools.items()
        }
        pools = {
            name: pool for name, pool in pools.items() if pool.devices or pool.state != "serving"
        }
    return msgspec.structs.replace(status, pools=pools)


def unknown_pool_error(status: NodeStatus, choice: StatusFilter) -> str:
    """Return an error if the selected pool does not exist; empty if it does."""
    if choice.pool is None or any(matches_name(name, choice.pool) for name in status.pools):
        return ""
    there = ", ".join(status.pools) or "none"
    return f"no pool {choice.pool}: there are {there}"


def is_well(device: DeviceStatus) -> bool:
    """Return True if the device is healthy without any doubt."""
    return device.health == "Healthy" and device.phase is HealthPhase.HEALTHY
