"""What a fault may do to a pool, from nothing to everything."""

from collections.abc import Iterable, Mapping
from enum import IntEnum


class Touch(IntEnum):
    """Each may do all that those before it may."""

    NOTHING = 0
    """Same worker, same stream, no message, no failed call."""
    LISTS = 1
    """Messages may come, and devices be refused. No stream ends, and no call breaks off."""
    STREAMS = 2
    """The kubelet may lose the worker and find it again: streams end, calls fail."""
    WORKER = 3
    """The worker may be another one afterwards."""


Touches = Mapping[str, Touch]
"""By pool; a pool that is not named is not touched."""


def union(each: Iterable[Touches]) -> dict[str, Touch]:
    """What several faults together may do."""
    worst: dict[str, Touch] = {}
    for touches in each:
        for pool, touch in touches.items():
            worst[pool] = max(touch, worst.get(pool, Touch.NOTHING))
    return worst
