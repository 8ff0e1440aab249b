"""The kubelet's probes: the supervisor replies, and no reason prevents readiness."""

from collections.abc import Iterator
from typing import Final

from rbln_supervisor.core.status import NodeStatus

READY_TIMEOUT_S: Final = 3.0
"""Less than a kubelet's time-out (5 s in our manifests): a probe that it kills reports no
reason."""


def unready_reasons(status: NodeStatus) -> tuple[str, ...]:
    """Return the reasons why a node is not ready, one line each; empty if it is.

    A kubelet shows the lines as the event of a probe that failed.
    """
    if status.supervisor.ready:
        return ()
    found = tuple(_unready_pools(status))
    return found or ("not ready: the node has not been looked at yet, or it is leaving",)


def _unready_pools(status: NodeStatus) -> Iterator[str]:
    for name, pool in status.pools.items():
        # A pool without devices waits for hardware, an invalid one for its owner: another instance
        # would serve neither, so no update has to wait for them.
        if pool.devices and not pool.registered and pool.state != "invalid":
            reason = f": {pool.reason}" if pool.reason else ""
            yield f"{name} is {pool.state}{reason}"
