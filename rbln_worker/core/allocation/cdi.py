"""The Container Device Interface (CDI): a pool's spec, version 0.5.0, and references to it.

The runtime merges a spec's edits into a container that claims one of its devices. A device without
edits must not be in a spec, and so is not claimed.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import DeviceType, PoolSpec
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers.provider import DeviceNode, Mount

Mode = Literal["off", "annotations", "cri", "both"]
"""The way to pass a claim: in an annotation, in the kubelet's own field, or in both.

Kubelets ignore a field that they don't know, and runtimes apply a device that is claimed twice
once, so ``both`` works wherever CDI does.
"""

FOLDER: Final = "/var/run/cdi"
FILE_MODE: Final = 0o644
CLASSES: Final[Mapping[DeviceType, str]] = {
    "netDevice": "net-pci",
    "accelerator": "net-accel",
    "auxNetDevice": "net-sf",
}
"""The class names of the reference; the class of another type is its own name."""
CDI_VERSION: Final = "0.5.0"
_VENDOR: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]")
_MAX_KEY_LENGTH: Final = 63
"""Maximum length of an annotation's name (pkg/cdi/annotations.go)."""
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_READ_ONLY: Final = ("ro", "nosuid", "nodev", "bind")


def cdi_kind(pool: PoolSpec) -> str:
    """Return vendor and class of the pool's devices."""
    return f"{pool.prefix}/{_class_name(pool.device_type)}"


def unsupported_reason(pool: PoolSpec) -> str | None:
    """Return why a pool can't be a spec, None if it can (pkg/cdi/device.go, ValidateVendorName)."""
    if _VENDOR.fullmatch(pool.prefix):
        return None
    return (
        f"CDI is not used for this pool, its containers get device nodes directly: {pool.prefix!r} "
        "is no CDI vendor: it has to begin with a letter, end with a letter or digit, and have "
        "letters, digits, dots, dashes and underscores only"
    )


def qualified_name(pool: PoolSpec, device: DeviceId) -> str:
    """Return the device's qualified name."""
    return f"{cdi_kind(pool)}={device}"


def annotation_key(pool: PoolSpec) -> str:
    """Return the annotation of this pool: a container may have devices of several."""
    whole = f"{pool.prefix}_{_class_name(pool.device_type)}_{pool.resource}"
    if len(whole) <= _MAX_KEY_LENGTH and _KEY_NAME.fullmatch(whole):
        return f"cdi.k8s.io/{whole}"
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return f"cdi.k8s.io/{whole[: _MAX_KEY_LENGTH - 1 - len(digest)]}_{digest}"


def file_names(pool: PoolSpec) -> Mapping[DeviceType, str]:
    """Return the possible file names of the pool's spec, by type, as the reference makes them."""
    return {
        one: f"sriov-dp-{pool.prefix}-{_class_name(one)}-{pool.resource}.yaml".replace("/", "-")
        for one in {*CLASSES, pool.device_type}
    }


def _class_name(device_type: DeviceType) -> str:
    return CLASSES.get(device_type, device_type.lower())


def header_line(pool: PoolSpec) -> str:
    """Return the first line of the pool's spec, by which the plugin recognizes its own files."""
    return f"# rbln-device-plugin wrote this for {pool.name}, and will again\n"


def has_edits(answer: DeviceAllocation) -> bool:
    """Return True if a container that gets the device needs edits."""
    return bool(answer.nodes or answer.mounts)


def spec_text(pool: PoolSpec, answers: Iterable[DeviceAllocation]) -> str | None:
    """Return the text of the spec; None if no device needs edits: a spec needs a device.

    JSON is YAML, and the file is named as the reference names it. A mount that all devices share is
    in the spec once.
    """
    told = sorted((one for one in answers if has_edits(one)), key=lambda one: one.id)
    if not told:
        return None
    common = [mount for mount in told[0].mounts if all(mount in one.mounts for one in told)]
    devices = []
    for one in told:
        # A device needs an edit, so one without nodes repeats its mounts.
        own = [mount for mount in one.mounts if mount not in common or not one.nodes]
        devices.append({"containerEdits": edits_object(one.nodes, own), "name": one.id})
    return header_line(pool) + json.dumps(
        {
            "cdiVersion": CDI_VERSION,
            "containerEdits": edits_object((), common),
            "devices": devices,
            "kind": cdi_kind(pool),
        },
        indent=1,
    )


def edits_object(nodes: Sequence[DeviceNode], mounts: Sequence[Mount]) -> dict[str, object]:
    """Return the edits of a container; empty if there are none."""
    edits: dict[str, object] = {}
    if nodes:
        edits["deviceNodes"] = [
            {"hostPath": node.host, "path": node.container, "permissions": "rw"} for node in nodes
        ]
    if mounts:
        edits["mounts"] = [
            {"containerPath": mount.container, "hostPath": mount.host, "options": list(_READ_ONLY)}
            for mount in mounts
        ]
    return edits
