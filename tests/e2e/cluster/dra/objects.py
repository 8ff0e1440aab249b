"""Objects of resource.k8s.io/v1 as a test makes and reads them."""

from collections.abc import Mapping, Sequence
from typing import Final

from tests.e2e.cluster.api import Object
from tests.e2e.cluster.images import IMAGE

API: Final = "/apis/resource.k8s.io/v1"
CLASSES: Final = f"{API}/deviceclasses"
SLICES: Final = f"{API}/resourceslices"
CLAIMS: Final = f"{API}/namespaces/default/resourceclaims"
TEMPLATES: Final = f"{API}/namespaces/default/resourceclaimtemplates"


def device_class(name: str, driver: str, *, extended_resource: str = "") -> Object:
    """A DeviceClass of every device of a driver."""
    spec: Object = {"selectors": [cel(f'device.driver == "{driver}"')]}
    if extended_resource:
        spec["extendedResourceName"] = extended_resource
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": spec,
    }


def cel(expression: str) -> Object:
    """A selector."""
    return {"cel": {"expression": expression}}


def exactly(
    device_class_name: str, count: int = 1, *, where: str = "", **rest: object
) -> Mapping[str, object]:
    """What a request asks for: ``count`` devices of a class, that a CEL expression selects."""
    selectors = {"selectors": [cel(where)]} if where else {}
    return {"deviceClassName": device_class_name, "count": count, **selectors, **rest}


def request(name: str, device_class_name: str, count: int = 1, **rest: object) -> Object:
    """A request for exactly so many devices; ``where`` and further keys as `exactly` has them."""
    return {"name": name, "exactly": exactly(device_class_name, count, **rest)}  # type: ignore[arg-type]


def prioritized(name: str, *choices: Mapping[str, object]) -> Object:
    """A request with alternatives, the best first; its subrequests are s0, s1 and so on."""
    named = [{"name": f"s{number}", **choice} for number, choice in enumerate(choices)]
    return {"name": name, "firstAvailable": named}


def devices_spec(requests: Sequence[Object], **rest: object) -> Object:
    """The specification of a claim; ``rest``: constraints, config."""
    return {"devices": {"requests": list(requests), **rest}}


def claim(name: str, spec: Object) -> Object:
    """A ResourceClaim."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name},
        "spec": spec,
    }


def claim_template(name: str, spec: Object) -> Object:
    """A ResourceClaimTemplate."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name},
        "spec": {"spec": spec},
    }


def claim_pod(
    name: str, claims: Mapping[str, Mapping[str, str]], limits: Mapping[str, int], **rest: object
) -> Object:
    """A pod of one container that has these claims: pod's name of a claim → its source."""
    container = {
        "name": "c",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "resources": {
            "limits": {key: str(count) for key, count in limits.items()},
            "claims": [{"name": each} for each in claims],
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "dra"}},
        "spec": {
            "hostNetwork": True,
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "resourceClaims": [{"name": each, **source} for each, source in claims.items()],
            **rest,
        },
    }


def results(found: Object) -> list[Object]:
    """The devices that a claim is allocated; none: not allocated."""
    allocation = found.get("status", {}).get("allocation", {})
    return list(allocation.get("devices", {}).get("results", ()))


def attribute(device: Object, name: str) -> object:
    """The value of an attribute of a slice's device; None where it has none."""
    value: Mapping[str, object] = device.get("attributes", {}).get(name, {})
    return next(iter(value.values()), None)
