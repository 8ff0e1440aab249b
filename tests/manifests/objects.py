"""Rendered objects, and what tests ask of them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

REPOSITORY: Final = Path(__file__).parents[2]
KUSTOMIZE: Final = REPOSITORY / "deployments/kubernetes"
CHART: Final = REPOSITORY / "deployments/helm/rbln-device-plugin"
NAMES: Final = tuple(sorted(path.name for path in (KUSTOMIZE / "overlays").iterdir()))
"""Of the overlays; the chart has values of the same name, npu being its default."""

API_KINDS: Final = {
    "DeviceClass": (1, 34),
    "ClusterRole": (1, 25),
    "ClusterRoleBinding": (1, 25),
    "ValidatingAdmissionPolicy": (1, 30),
    "ValidatingAdmissionPolicyBinding": (1, 30),
}
"""Kinds that only overlays with a token have, each with the first version that has it."""

Object = dict[str, Any]
"""YAML of anybody's making: its shape is what is tested."""

_HELMS: Final = (*("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance"),)
"""Labels that only Helm's objects have."""


class Key(NamedTuple):
    """What an object is called."""

    kind: str
    namespace: str
    name: str


def objects(text: str) -> dict[Key, Object]:
    """All objects of a stream of documents."""
    found: dict[Key, Object] = {}
    for document in yaml.safe_load_all(text):
        if document is None:
            continue
        metadata = document["metadata"]
        key = Key(document["kind"], metadata.get("namespace", ""), metadata["name"])
        assert key not in found, f"{key} twice"
        found[key] = document
    return found


def of_kind(found: Mapping[Key, Object], kind: str) -> Object:
    """The one object of a kind."""
    (one,) = (one for key, one in found.items() if key.kind == kind)
    return one


def comparable(found: Mapping[Key, Object]) -> dict[Key, Object]:
    """Objects without what says how they were made; the configuration as what it means."""
    result = {}
    for key, one in found.items():
        copy = json.loads(json.dumps(one))
        for label in _HELMS:
            copy["metadata"].get("labels", {}).pop(label, None)
        if key.kind == "ConfigMap":
            copy["data"] = {name: json.loads(text) for name, text in copy["data"].items()}
        result[key] = copy
    return result


def pod(found: Mapping[Key, Object]) -> Object:
    """The DaemonSet's pod."""
    spec: Object = of_kind(found, "DaemonSet")["spec"]["template"]["spec"]
    return spec


def container(found: Mapping[Key, Object]) -> Object:
    """Its container."""
    (one,) = pod(found)["containers"]
    result: Object = one
    return result


def values_of(value: object, key: str) -> Iterator[object]:
    """Every value under a key, however deep it lies."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from values_of(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from values_of(inner, key)
