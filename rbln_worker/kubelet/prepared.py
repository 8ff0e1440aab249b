"""What a pool answers with: made when something of it changes, so that calls only join bytes."""

from collections.abc import Mapping

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.core.answer import DeviceAnswer, EnvNames
from rbln_worker.core.cdi import Mode, annotation_key, claim
from rbln_worker.core.prefer.place import Layout, layout
from rbln_worker.kubelet.translate import Share, share


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
    layout: Layout = Layout()
    """Where all of its devices sit."""


def prepare(
    pool: PoolSpec,
    names: EnvNames,
    devices: Mapping[DeviceId, Device],
    answers: Mapping[DeviceId, DeviceAnswer],
    refusals: Mapping[str, str],
    mode: Mode,
) -> Prepared:
    """Make the answers of a pool from those of its devices."""
    return Prepared(
        pool=pool.name,
        names=names,
        shares={
            device: share(answer, mode, claim(pool, device))
            for device, answer in answers.items()
            if device not in refusals
        },
        refusals=refusals,
        annotation=annotation_key(pool) if mode in {"annotations", "both"} else "",
        layout=layout(pool, devices.values()),
    )
