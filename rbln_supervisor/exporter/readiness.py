"""The content of /readyz: readiness of the node's pools, and missing ones."""

from typing import NamedTuple

from rbln_supervisor.core.status import NodeStatus


class Readiness(NamedTuple):
    """The readiness of the node."""

    ready: bool
    lines: tuple[str, ...]
    """A summary, then a line for each pool."""


def node_readiness(status: NodeStatus) -> Readiness:
    """Return ready if a discovery has ended, and the kubelet lists every pool with devices.

    An invalid pool does not prevent readiness; it has its line.
    """
    missing = [name for name, pool in status.pools.items() if pool.prevents_readiness]
    if status.supervisor.ready:
        head = "ready"
    elif missing:
        head = f"not ready: {', '.join(missing)}"
    else:
        head = "not ready: no discovery has ended yet, or workers are being adopted"
    lines = (
        f"{name}: {pool.state}{f': {pool.reason}' if pool.reason else ''}"
        for name, pool in status.pools.items()
    )
    return Readiness(status.supervisor.ready, (head, *lines))
