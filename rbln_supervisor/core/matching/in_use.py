"""Conflicts of a reload with pods: the devices that it removes and pods use."""

from collections.abc import Iterator

from rbln_supervisor.core.config.positions import limit_lines
from rbln_supervisor.core.matching.plan import Removals
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pod_devices import PodDevice, ResourceHolders


def removal_conflicts(removals: Removals, holders: ResourceHolders) -> tuple[str, ...]:
    """Return the reasons why these devices can't be removed without force, one line each.

    Devices that no container uses can be removed. If the kubelet has no pod-resources socket,
    nothing is refused. If it has one and did not answer, the reload may do harm, so it is refused.
    """
    if not removals:
        return ()
    if holders.unknown is not None:
        count = len(removals)
        return (
            f"it removes {count} device{'' if count == 1 else 's'} from pools, and the kubelet "
            f"does not report whether pods use them ({holders.unknown})",
        )
    return limit_lines(tuple(_conflict_lines(removals, holders.holdings)))


def conflict_advice(holders: ResourceHolders) -> str:
    """Return a remedy for the conflicts."""
    force = "remove the devices with rbln-ctl reload --force"
    if holders.unknown is None:
        return f"wait until these pods have ended, or {force}"
    return f"it is tried again until the kubelet reports it, or {force}"


def unchecked_warning(removals: Removals, holders: ResourceHolders) -> tuple[str, ...]:
    """Return a warning for a reload that removes devices without a check of the pods."""
    if not removals or holders.absent is None:
        return ()
    return (
        "devices left their pools without a check of the pods that use them: "
        f"{holders.absent} does not exist",
    )


def _conflict_lines(removals: Removals, holdings: tuple[PodDevice, ...]) -> Iterator[str]:
    for one in holdings:
        key = one.resource, DeviceId(one.device)
        if key in removals:
            how = f"by claim {one.claim} of {one.resource}" if one.claim else f"as {one.resource}"
            yield (
                f"{one.device}: pod {one.namespace}/{one.pod}, container {one.container}, uses "
                f"it {how}, and it would be {removals[key]}"
            )
