"""A pool as a spec of the Container Device Interface, version 0.5.0, and how answers refer to it.

The runtime merges a spec's edits into a container that claims one of its devices. A device that
needs no edits must not be in a spec, and so is not claimed.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import DeviceType, PoolSpec
from rbln_worker.core.answer import DeviceAnswer
from rbln_worker.core.providers.offer import Mount, Node

Mode = Literal["off", "annotations", "cri", "both"]
"""How a claim reaches the runtime: as an annotation, in the kubelet's own field, or twice.

Kubelets pass over a field that they don't know, and runtimes take a device that is claimed twice
once, so ``both`` is right wherever CDI is.
"""

FOLDER: Final = "/var/run/cdi"
FILE_MODE: Final = 0o644
CLASSES: Final[Mapping[DeviceType, str]] = {
    "netDevice": "net-pci",
    "accelerator": "net-accel",
    "auxNetDevice": "net-sf",
}
"""The reference's words; another type's is its own."""
_VERSION: Final = "0.5.0"
_VENDOR: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]")
_KEY_MOST: Final = 63
"""Characters of an annotation's name (pkg/cdi/annotations.go)."""
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_READ_ONLY: Final = ("ro", "nosuid", "nodev", "bind")


def kind(pool: PoolSpec) -> str:
    """Vendor and class of the pool's devices."""
    return f"{pool.prefix}/{_class(pool.device_type)}"


def unusable(pool: PoolSpec) -> str | None:
    """Why a pool can't be a spec; None where it can (pkg/cdi/device.go, ValidateVendorName)."""
    if _VENDOR.fullmatch(pool.prefix):
        return None
    return (
        f"CDI is not used for this pool, its containers get device nodes directly: {pool.prefix!r} "
        "is no CDI vendor: it has to begin with a letter, end with a letter or digit, and have "
        "letters, digits, dots, dashes and underscores only"
    )


def claim(pool: PoolSpec, device: DeviceId) -> str:
    """The device's qualified name."""
    return f"{kind(pool)}={device}"


def annotation_key(pool: PoolSpec) -> str:
    """The annotation for this pool alone: a container may have devices of several."""
    whole = f"{pool.prefix}_{_class(pool.device_type)}_{pool.resource}"
    if len(whole) <= _KEY_MOST and _KEY_NAME.fullmatch(whole):
        return f"cdi.k8s.io/{whole}"
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return f"cdi.k8s.io/{whole[: _KEY_MOST - 1 - len(digest)]}_{digest}"


def file_names(pool: PoolSpec) -> Mapping[DeviceType, str]:
    """What the pool's spec is called, by type: the reference's names."""
    return {
        one: f"sriov-dp-{pool.prefix}-{_class(one)}-{pool.resource}.yaml".replace("/", "-")
        for one in {*CLASSES, pool.device_type}
    }


def _class(device_type: DeviceType) -> str:
    return CLASSES.get(device_type, device_type.lower())


def mark(pool: PoolSpec) -> str:
    """The first line of the pool's spec: by it we know a file that we wrote."""
    return f"# rbln-device-plugin wrote this for {pool.name}, and will again\n"


def has_edits(answer: DeviceAnswer) -> bool:
    """Whether a container that gets the device needs to be changed."""
    return bool(answer.nodes or answer.mounts)


def spec(pool: PoolSpec, answers: Iterable[DeviceAnswer]) -> str | None:
    """The text of the spec; None where no device needs edits: a spec has to have devices.

    JSON is YAML, and the file is called as the reference calls it. What every device mounts is
    mounted once.
    """
    told = sorted((one for one in answers if has_edits(one)), key=lambda one: one.id)
    if not told:
        return None
    common = [mount for mount in told[0].mounts if all(mount in one.mounts for one in told)]
    devices = []
    for one in told:
        # A device may not be without edits, so that one without nodes repeats its mounts.
        own = [mount for mount in one.mounts if mount not in common or not one.nodes]
        devices.append({"containerEdits": _edits(one.nodes, own), "name": one.id})
    return mark(pool) + json.dumps(
        {
            "cdiVersion": _VERSION,
            "containerEdits": _edits((), common),
            "devices": devices,
            "kind": kind(pool),
        },
        indent=1,
    )


def _edits(nodes: Sequence[Node], mounts: Sequence[Mount]) -> dict[str, object]:
    edits: dict[str, object] = {}
    if nodes:
        edits["deviceNodes"] = [
            {"hostPath": node.host, "path": node.container, "permissions": "rw"} for node in nodes
        ]
    if mounts:
        edits["mounts"] = [
            {
                "containerPath": mount.container,
                "hostPath": mount.host,
                "options": list(_READ_ONLY),
            }
            for mount in mounts
        ]
    return edits
