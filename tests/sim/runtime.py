"""A container runtime's view of CDI: specs are checked as version 0.5.0 has it, claims resolved.

The rules are those of the library that runtimes share (container-device-interface v0.5.4:
pkg/cdi/device.go, container-edits.go, spec.go, annotations.go, schema/).
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb

_VENDOR: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]")
_DEVICE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_KEYS: Final = {
    "spec": {"cdiVersion", "kind", "devices", "containerEdits"},
    "device": {"name", "containerEdits"},
    "edits": {"env", "deviceNodes", "hooks", "mounts"},
    "node": {
        *("path", "hostPath", "type", "major", "minor"),
        *("fileMode", "permissions", "uid", "gid"),
    },
    "mount": {"hostPath", "containerPath", "options", "type"},
}
PREFIX: Final = "cdi.k8s.io/"


class Container(NamedTuple):
    """What a container was given, in order, no path twice."""

    nodes: tuple[tuple[str, str, str], ...]
    """Host path, container path, permissions."""
    mounts: tuple[tuple[str, str, bool], ...]
    """Host path, container path, read-only."""


def checked(path: Path) -> dict[str, Any]:
    """A spec file's content; AssertionError where a runtime would pass the file over."""
    assert path.suffix in {".json", ".yaml"}
    spec = yaml.safe_load(path.read_text())
    assert isinstance(spec, dict)
    _only(spec, "spec")
    assert spec["cdiVersion"] == "0.5.0"
    vendor, slash, name = spec["kind"].partition("/")
    assert slash
    assert _VENDOR.fullmatch(vendor), vendor
    assert _VENDOR.fullmatch(name), name
    _edits(spec.get("containerEdits", {}))
    devices = spec["devices"]
    assert devices
    for device in devices:
        _only(device, "device")
        assert _DEVICE.fullmatch(device["name"]), device
        assert any(device["containerEdits"].values()), f"empty device edits: {device}"
        _edits(device["containerEdits"])
    names = [device["name"] for device in devices]
    assert len(set(names)) == len(names)
    return spec


def claims(answer: pb.ContainerAllocateResponse) -> list[str]:
    """The devices that an answer claims; what annotations and the field say, once."""
    claimed = [device.name for device in answer.cdi_devices]
    for key, value in answer.annotations.items():
        if key.startswith(PREFIX):
            name = key.removeprefix(PREFIX)
            assert len(name) <= 63
            assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", name), name
            claimed += value.split(",")
    return list(dict.fromkeys(claimed))


def run(folder: Path, claimed: Iterable[str]) -> Container:
    """What the edits of these devices make of a container; AssertionError for an unknown one."""
    specs = [checked(path) for path in sorted(folder.glob("*.yaml"))]
    devices = {
        f"{spec['kind']}={device['name']}": (spec, device)
        for spec in specs
        for device in spec["devices"]
    }
    edits: list[Mapping[str, Any]] = []
    used: list[str] = []
    for name in claimed:
        assert name in devices, f"unresolvable CDI device {name}, there are {sorted(devices)}"
        spec, device = devices[name]
        if spec["kind"] not in used:
            used.append(spec["kind"])
            edits.append(spec.get("containerEdits", {}))
        edits.append(device["containerEdits"])
    nodes = {
        node["path"]: (node.get("hostPath") or node["path"], node["path"], node["permissions"])
        for edit in edits
        for node in edit.get("deviceNodes", ())
    }
    mounts = {
        mount["containerPath"]: (
            mount["hostPath"],
            mount["containerPath"],
            "ro" in mount["options"],
        )
        for edit in edits
        for mount in edit.get("mounts", ())
    }
    return Container(tuple(nodes.values()), tuple(mounts.values()))


def _edits(edits: dict[str, Any]) -> None:
    _only(edits, "edits")
    for node in edits.get("deviceNodes", ()):
        _only(node, "node")
        assert node["path"]
        assert node.get("type", "") in {"b", "c", "u", "p", ""}
        assert set(node.get("permissions", "")) <= set("rwm")
    for mount in edits.get("mounts", ()):
        _only(mount, "mount")
        assert mount["hostPath"]
        assert mount["containerPath"]


def _only(given: dict[str, Any], what: str) -> None:
    assert set(given) <= _KEYS[what], f"{what}: {set(given) - _KEYS[what]}"
