"""Prepared answers of a pool: built when it changes, so that calls only join bytes."""

from collections.abc import Iterable, Mapping

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.core.allocation.cdi import Mode, annotation_key, qualified_name
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, EnvNames
from rbln_worker.core.preferred.topology import PoolTopology, pool_topology
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


class AnswerInputs(msgspec.Struct, frozen=True):
    """The input of the answers."""

    pool: PoolSpec
    devices: Mapping[DeviceId, Device]
    answers: Mapping[DeviceId, DeviceAllocation]
    verdicts: Mapping[DeviceId, Verdict]
    refusals: Mapping[DeviceId, str]
    """Reasons for those of the changed devices that can't be allocated."""
    hidden: frozenset[DeviceId]
    """Devices that are not listed yet."""
    mode: Mode


def revise_answers(
    before: PreparedAnswers, known: AnswerInputs, changed: Iterable[DeviceId], *, moved: bool
) -> PreparedAnswers:
    """Return the answers after changes of some devices; the others' answers stay the same.

    ``moved``: the position of a changed device, or the pool, is another one.
    """
    shares, refusals, lines = dict(before.shares), dict(before.refusals), dict(before.listed)
    pool, came = known.pool, False
    for device in changed:
        for kept in (shares, refusals):
            kept.pop(device, None)
        if device in known.refusals:
            refusals[device] = known.refusals[device]
        elif device in known.devices:
            answer = known.answers[device]
            shares[device] = encode_share(answer, known.mode, qualified_name(pool, device))
        if device in known.devices and device not in known.hidden:
            came |= device not in lines
            lines[device] = list_entry(known.devices[device], known.verdicts[device], pool)
        else:
            lines.pop(device, None)
    return PreparedAnswers(
        pool=pool.name,
        names=before.names,
        shares=shares,
        refusals=refusals,
        annotation=annotation_key(pool) if known.mode in {"annotations", "both"} else "",
        layout=pool_topology(pool, known.devices.values()) if moved else before.layout,
        listed={device: lines[device] for device in sorted(lines)} if came else lines,
    )
