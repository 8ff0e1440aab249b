"""Claims that DRA workers have prepared, from the checkpoints in the folders of their drivers.

They are known here as soon as they are written, also if no worker serves their driver any more.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rbln_worker.contract.claims import CHECKPOINT, MAX_CHECKPOINT_BYTES
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.host.boot import read_boot_id

_MAX_DRIVERS: Final = 64


def driver_folders(plugins: Path) -> tuple[Path, ...]:
    """Return the folders of drivers, and of other plugins; none if the folder does not exist."""
    try:
        with os.scandir(plugins) as entries:
            folders = [plugins / one.name for one in entries if one.is_dir(follow_symlinks=False)]
    except OSError:
        return ()
    return tuple(sorted(folders)[:_MAX_DRIVERS])


def read_prepared_claims(plugins: Path) -> tuple[PodDevice, ...]:
    """Return the devices of claims that were prepared since the node's start, for each pod."""
    boot = read_boot_id()
    return tuple(one for folder in driver_folders(plugins) for one in _read_driver(folder, boot))


def _read_driver(folder: Path, boot: str) -> Iterator[PodDevice]:
    try:
        with (folder / CHECKPOINT).open("rb") as file:
            text = file.read(MAX_CHECKPOINT_BYTES)
    except OSError:
        return
    # Only here: nodes without DRA need not have this module in memory.
    from rbln_worker.core.dra.checkpoint import (  # noqa: PLC0415
        CheckpointError,
        parse_checkpoint,
    )

    try:
        entries = parse_checkpoint(text).of_boot(boot)
    except CheckpointError:
        return
    for entry in entries:
        claim = f"{entry.namespace}/{entry.name}"
        for pod in entry.pods or ("",):
            namespace, _, name = pod.partition("/")
            for device in entry.devices:
                yield PodDevice(
                    folder.name,
                    device.id,
                    namespace=namespace,
                    pod=name,
                    since=entry.since,
                    claim=claim,
                )
