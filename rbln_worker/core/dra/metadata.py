"""Device metadata for programs in a pod (KEP-5304): a JSON stream, one object for each version.

A file for each request of a claim is mounted where k8s.io/dynamic-resource-allocation/
devicemetadata reads it (api/metadata, versions v1beta1 and v1alpha1 of Kubernetes 1.37).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rbln_worker.core.dra.claim_entry import ClaimEntry, base_request
from rbln_worker.core.dra.names import dra_device_name
from rbln_worker.core.dra.resource_slice import DeviceAttribute

CONTAINER_FOLDER: Final = "/var/run/kubernetes.io/dra-device-attributes"
GROUP: Final = "metadata.resource.k8s.io"
VERSIONS: Final = ("v1beta1", "v1alpha1")


class MetadataFile(msgspec.Struct, frozen=True):
    """The metadata of one request."""

    request: str
    """The request, without subrequest."""
    text: bytes
    container: str
    """The path in a container."""


def metadata_files(
    entry: ClaimEntry,
    driver: str,
    node: str,
    attributes: Mapping[str, Mapping[str, DeviceAttribute]],
) -> tuple[MetadataFile, ...]:
    """Return the metadata files of a claim, by request.

    Args:
        entry: the claim.
        driver: the name of the driver.
        node: the name of the node's pool of devices.
        attributes: attributes in ResourceSlices by name of the device.
    """
    requests: dict[str, str] = {}
    for device in entry.devices:
        for request in device.requests:
            requests.setdefault(base_request(request), request)
    if entry.pod_claim:
        folder = f"{CONTAINER_FOLDER}/resourceclaimtemplates/{entry.pod_claim}"
    else:
        folder = f"{CONTAINER_FOLDER}/resourceclaims/{entry.name}"
    files = []
    for base, request in sorted(requests.items()):
        devices = [
            {
                "driver": driver,
                "pool": node,
                "name": dra_device_name(device.id),
                "attributes": attributes.get(dra_device_name(device.id), {}),
            }
            for device in entry.devices
            if request in device.requests
        ]
        body = _metadata_body(entry, request, devices)
        text = b"".join(
            msgspec.json.encode(
                {"apiVersion": f"{GROUP}/{version}", "kind": "DeviceMetadata", **body}
            )
            + b"\n"
            for version in VERSIONS
        )
        files.append(MetadataFile(base, text, f"{folder}/{base}/{driver}-metadata.json"))
    return tuple(files)


def _metadata_body(
    entry: ClaimEntry, request: str, devices: list[dict[str, Any]]
) -> dict[str, Any]:
    names = {"name": entry.name, "namespace": entry.namespace, "uid": entry.uid, "generation": 1}
    body: dict[str, Any] = {"metadata": names}
    if entry.pod_claim:
        body["podClaimName"] = entry.pod_claim
    return {**body, "requests": [{"name": request, "devices": devices}]}
