"""What /readyz says: whether the node's pools can be had, and what is missing."""

from typing import NamedTuple

from rbln_supervisor.core.status import NodeStatus, PoolStatus


class Readiness(NamedTuple):
    """The answer."""

    ready: bool
    lines: tuple[str, ...]
    """The first sums up; then a line for each pool."""


def readiness(status: NodeStatus) -> Readiness:
    """Ready: looked at once, and every pool is listed by the kubelet or has no device.

    A pool whose configuration is wrong keeps nobody from being ready: it is said.
    """
    missing = [name for name, pool in status.pools.items() if _is_missing(pool)]
    if status.supervisor.ready:
        head = "ready"
    elif missing:
        head = f"not ready: {', '.join(missing)}"
    else:
        head = "not ready: the node has not been looked at yet, or workers are being taken over"
    lines = (
        f"{name}: {pool.state}{f': {pool.reason}' if pool.reason else ''}"
        for name, pool in status.pools.items()
    )
    return Readiness(status.supervisor.ready, (head, *lines))


def _is_missing(pool: PoolStatus) -> bool:
    return bool(pool.devices) and not pool.registered and pool.state != "invalid"
