"""Prepared answers of a pool: built when it changes, so that calls only join bytes."""

from collections.abc import Mapping

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.cdi import annotation_key, qualified_name
from rbln_worker.core.allocation.device_allocation import EnvNames
from rbln_worker.core.preferred.topology import PoolTopology, pool_topology
from rbln_worker.core.step.effects import PublishAnswers
from rbln_worker.kubelet.translate import SerializedDevice, encode_share, list_entry


class PreparedAnswers(msgspec.Struct, frozen=True):
    """All prepared answers of a pool; replaced as a whole when a device changes."""

    pool: PoolName
    names: EnvNames
    shares: Mapping[str, SerializedDevice] = {}
    """Shares of the devices that can be allocated."""
    refusals: Mapping[str, str] = {}
    """Reasons why the pool's other devices can't be allocated."""
    annotation: str = ""
    """The annotation's key for claimed devices; empty if annotations are not used."""
    restart_refusals: Mapping[str, str] = {}
    """Reasons why containers must not start again with what they were given for these devices."""
    pre_start: bool = False
    """True if the kubelet has to call PreStartContainer before it starts a container."""
    layout: PoolTopology = PoolTopology()
    """The topology of the pool."""
    listed: Mapping[DeviceId, bytes] = {}
    """Serialized entries of the list for the kubelet, in its order: sorted by ID."""

    @property
    def message(self) -> bytes:
        """The list for the kubelet: a ListAndWatch message."""
        return b"".join(self.listed.values())


def revise_answers(before: PreparedAnswers, update: PublishAnswers) -> PreparedAnswers:
    """Return the answers after changes of some devices; the others' answers stay the same."""
    shares, refusals, lines = dict(before.shares), dict(before.refusals), dict(before.listed)
    pool, came = update.pool, False
    for device in update.changed:
        for kept in (shares, refusals):
            kept.pop(device, None)
        if device in update.refusals:
            refusals[device] = update.refusals[device]
        elif device in update.devices:
            answer = update.answers[device]
            shares[device] = encode_share(answer, update.mode, qualified_name(pool, device))
        if device in update.devices and device not in update.hidden:
            came |= device not in lines
            lines[device] = list_entry(update.devices[device], update.verdicts[device], pool)
        else:
            lines.pop(device, None)
    moved = update.moved
    return PreparedAnswers(
        pool=pool.name,
        names=before.names,
        shares=shares,
        refusals=refusals,
        annotation=annotation_key(pool) if update.mode in {"annotations", "both"} else "",
        restart_refusals=update.restart_refusals,
        pre_start=update.pre_start,
        layout=pool_topology(pool, update.devices.values()) if moved else before.layout,
        listed={device: lines[device] for device in sorted(lines)} if came else lines,
    )
