"""What a kubelet's probes ask: does the supervisor answer, and what keeps it from being ready?"""

from collections.abc import Iterator
from typing import Final

from rbln_supervisor.core.status import NodeStatus

READY_WITHIN_S: Final = 3.0
"""Less than a kubelet gives a probe (5 s, in our manifests): one that it ends tells nothing."""


def unready(status: NodeStatus) -> tuple[str, ...]:
    """Why a node is not ready, one line each; nothing where it is.

    A kubelet shows the lines as the event of a probe that failed.
    """
    if status.supervisor.ready:
        return ()
    found = tuple(_pools(status))
    return found or ("not ready: the node has not been looked at yet, or it is leaving",)


def _pools(status: NodeStatus) -> Iterator[str]:
    for name, pool in status.pools.items():
        # A pool without devices waits for hardware, an invalid one for its owner: another instance
        # would serve neither, so that no update has to wait for them.
        if pool.devices and not pool.registered and pool.state != "invalid":
            reason = f": {pool.reason}" if pool.reason else ""
            yield f"{name} is {pool.state}{reason}"
