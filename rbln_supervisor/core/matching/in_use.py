"""Conflicts of a reload with pods: the devices that it removes and pods use."""

from collections.abc import Iterator, Mapping

from rbln_supervisor.core.config.positions import limit_lines
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pod_resources import ResourceHolder, ResourceHolders
from rbln_worker.contract.pool import PoolName

Taken = Mapping[tuple[PoolName, DeviceId], PoolName | None]
"""Devices that a configuration removes from a pool, with the pool that gets each."""


def removal_conflicts(taken: Taken, held: ResourceHolders) -> tuple[str, ...]:
    """Return the reasons why these devices can't be removed without force, one line each.

    Devices that no container uses can be removed. If the kubelet has no pod-resources socket,
    nothing is refused. If it has one and did not answer, the reload may do harm, so it is refused.
    """
    if not taken:
        return ()
    if held.unknown is not None:
        count = len(taken)
        return (
            f"it takes {count} device{'' if count == 1 else 's'} from pools, and the kubelet does "
            f"not say whether pods have them ({held.unknown})",
        )
    return limit_lines(tuple(_conflict_lines(taken, held.holdings)))


def conflict_advice(held: ResourceHolders) -> str:
    """Return a remedy for the conflicts."""
    force = "take the devices with rbln-ctl reload --force"
    if held.unknown is None:
        return f"let these pods end first, or {force}"
    return f"it is tried again until the kubelet says, or {force}"


def unchecked_warning(taken: Taken, held: ResourceHolders) -> tuple[str, ...]:
    """Return a warning for a reload that removes devices without a check of the pods."""
    if not taken or held.absent is None:
        return ()
    return (
        f"devices left their pools, and nobody could say whether pods have them: {held.absent} is "
        "not there",
    )


def _conflict_lines(taken: Taken, holdings: tuple[ResourceHolder, ...]) -> Iterator[str]:
    for one in holdings:
        key = PoolName(one.resource), DeviceId(one.device)
        if key in taken:
            to = taken[key]
            yield (
                f"{one.device}: pod {one.namespace}/{one.pod}, container {one.container}, has it "
                f"as {one.resource}, and {f'{to} would get it' if to else 'no pool would have it'}"
            )
