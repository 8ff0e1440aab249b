"""What a pool answers with: made when something of it changes, so that calls only join bytes."""

from collections.abc import Iterable, Mapping

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.core.answer import DeviceAnswer, EnvNames
from rbln_worker.core.cdi import Mode, annotation_key, claim
from rbln_worker.core.prefer.place import Layout, layout
from rbln_worker.kubelet.translate import Share, listed, share


class Prepared(msgspec.Struct, frozen=True):
    """What a pool answers with at this moment; replaced as a whole when a device changes."""

    pool: PoolName
    names: EnvNames
    shares: Mapping[str, Share] = {}
    """Of the devices that may be given out."""
    refusals: Mapping[str, str] = {}
    """Why the other devices of the pool may not."""
    annotation: str = ""
    """The key under which devices are claimed from the runtime; empty where they aren't."""
    restart_refusals: Mapping[str, str] = {}
    """Why containers that were given these devices may not start with that again."""
    pre_start: bool = False
    """The kubelet has to ask before it starts a container (PreStartContainer)."""
    layout: Layout = Layout()
    """Where all of its devices sit."""
    listed: Mapping[DeviceId, bytes] = {}
    """Shares of the list for the kubelet, in its order: sorted by ID."""

    @property
    def message(self) -> bytes:
        """The list for the kubelet: a ListAndWatch message."""
        return b"".join(self.listed.values())


class Known(msgspec.Struct, frozen=True):
    """What answers are made of."""

    pool: PoolSpec
    devices: Mapping[DeviceId, Device]
    answers: Mapping[DeviceId, DeviceAnswer]
    verdicts: Mapping[DeviceId, Verdict]
    refusals: Mapping[DeviceId, str]
    """Of those among the changed devices that may not be given out."""
    hidden: frozenset[DeviceId]
    """Devices that the kubelet doesn't hear of yet."""
    mode: Mode


def revise(before: Prepared, known: Known, changed: Iterable[DeviceId], *, moved: bool) -> Prepared:
    """The answers after some devices have changed, come or gone; the others' stay what they are.

    ``moved``: one that sits elsewhere is among them, or the pool is another one.
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
            shares[device] = share(answer, known.mode, claim(pool, device))
        if device in known.devices and device not in known.hidden:
            came |= device not in lines
            lines[device] = listed(known.devices[device], known.verdicts[device], pool)
        else:
            lines.pop(device, None)
    return Prepared(
        pool=pool.name,
        names=before.names,
        shares=shares,
        refusals=refusals,
        annotation=annotation_key(pool) if known.mode in {"annotations", "both"} else "",
        layout=layout(pool, known.devices.values()) if moved else before.layout,
        listed={device: lines[device] for device in sorted(lines)} if came else lines,
    )
