"""ResourceSlices and ResourceClaims as the scheduler and a DRA driver see them, as JSON objects."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

SLICES: Final = "/apis/resource.k8s.io/v1/resourceslices"


def claims_path(namespace: str) -> str:
    """Return the collection of a namespace's claims."""
    return f"/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims"


def advertised_devices(
    slices: Iterable[Mapping[str, Any]], driver: str
) -> Mapping[str, Mapping[str, Any]]:
    """Return a driver's devices by name, as the scheduler reads them (one node has one pool).

    Only slices of the highest generation count, and none of them if one is missing.
    """
    own = [one["spec"] for one in slices if one["spec"]["driver"] == driver]
    generation = max((spec["pool"]["generation"] for spec in own), default=0)
    newest = [spec for spec in own if spec["pool"]["generation"] == generation]
    if any(spec["pool"]["resourceSliceCount"] != len(newest) for spec in newest):
        return {}
    devices: dict[str, Mapping[str, Any]] = {}
    for spec in newest:
        for device in spec.get("devices", ()):
            assert device["name"] not in devices, f"{device['name']} is advertised twice"
            devices[device["name"]] = device
    return devices


def free_of_taints(devices: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the devices that a pod without tolerations can get."""
    return tuple(sorted(name for name, device in devices.items() if not device.get("taints")))


def claim_object(
    name: str, namespace: str, *, driver: str, node: str, devices: Iterable[str], pod: str
) -> dict[str, Any]:
    """Return a claim with one request, allocated and reserved for a pod."""
    names = tuple(devices)
    results = [
        {"request": "npus", "driver": driver, "pool": node, "device": device} for device in names
    ]
    exactly = {"deviceClassName": driver, "allocationMode": "ExactCount", "count": len(names)}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"devices": {"requests": [{"name": "npus", "exactly": exactly}]}},
        "status": {
            "allocation": {"devices": {"results": results}},
            "reservedFor": [{"resource": "pods", "name": pod, "uid": f"uid-of-{pod}"}],
        },
    }
