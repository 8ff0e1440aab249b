"""Attributes and capacity of a device in a ResourceSlice.

Names: the standard ones of resource.kubernetes.io; ``dra.net/numaNode``, which network drivers
match on; the vendor's, so that selectors for its own driver work; and ours (``resourcePool``,
``card``, ``pf``, ``vfIndex``, ``sfNumber``). Names without a domain have the driver's.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import REBELLIONS, Bdf, Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.providers.rebellions import is_npu
from rbln_worker.core.dra.resource_slice import DeviceAttribute, DeviceCapacity

MAX_PROPERTIES: Final = 32
"""Maximum number of attributes and capacities of a device, together."""
MAX_VALUE: Final = 64
"""Maximum length of a string or version, in bytes."""

STANDARD: Final = "resource.kubernetes.io"
PRODUCTS: Final[Mapping[str, str]] = {
    "102": "RBLN-CA02",
    "112": "RBLN-CA12",
    "115": "RBLN-CA15",
    "122": "RBLN-CA22",
    "125": "RBLN-CA25",
    "203": "RBLN-CR03",
}
"""Products by the first digits of the PCI device ID, for a device without the vendor's driver."""

_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_WORD: Final = r"[0-9A-Za-z-]+"
_SEMVER: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(?:-(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
    rf"(?:\.(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?(?:\+{_WORD}(?:\.{_WORD})*)?",
    re.ASCII,
)
"""A version by semver.org 2.0.0."""
_BYTES: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_BINARY: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = ("k", "M", "G", "T", "P", "E")


class DeviceProperties(msgspec.Struct, frozen=True):
    """Attributes and capacity of a device."""

    attributes: Mapping[str, DeviceAttribute]
    capacity: Mapping[str, DeviceCapacity]
    left_out: tuple[str, ...] = ()
    """Names of those that the API would refuse."""


def device_properties(
    device: Device, pool: PoolSpec, details: Mapping[str, str], card: Bdf | None = None
) -> DeviceProperties:
    """Return the properties of a device.

    Args:
        device: the device in the desired state.
        pool: its resource pool.
        details: texts of its driver's files by name (core/health/npu.py: DETAIL_FILES).
        card: the bridge that the devices of its card share; None if it is not known.
    """
    memory = details.get("dram_total", "")
    capacity = (
        {"memory": DeviceCapacity(quantity_text(int(memory)))} if _BYTES.fullmatch(memory) else {}
    )
    attributes: dict[str, DeviceAttribute] = {}
    left_out: list[str] = []
    for name, value in (
        *_standard_attributes(device),
        *_vendor_attributes(device, pool, details),
        *_own_attributes(device, pool, card),
    ):
        text = value.string if value.version is None else value.version
        if text == "":
            continue
        too_long = text is not None and len(text.encode()) > MAX_VALUE
        if too_long or len(attributes) + len(capacity) >= MAX_PROPERTIES:
            left_out.append(name)
        else:
            attributes[name] = value
    return DeviceProperties(attributes, capacity, tuple(left_out))


def pcie_root(device: Device) -> str:
    """Return the root complex, such as ``pci0000:00``: domain and bus of the function on top."""
    top = next(iter(device.function.bridges), device.function.bdf)
    return f"pci{top.rsplit(':', 1)[0]}"


def version_attribute(text: str) -> DeviceAttribute:
    """Return a version; a string if it is not one by semver.org."""
    plain = text.removeprefix("v")
    if _SEMVER.fullmatch(plain):
        return DeviceAttribute(version=plain)
    return DeviceAttribute(string=text)


def quantity_text(number: int) -> str:
    """Return a quantity as the API server writes it, so that what it stores is what was sent."""
    for base, suffixes in ((1024, _BINARY), (1000, _DECIMAL)):
        step = 0
        while number and number % base == 0 and step < len(suffixes):
            number, step = number // base, step + 1
        if step:
            return f"{number}{suffixes[step - 1]}"
    return str(number)


def _standard_attributes(device: Device) -> Iterator[tuple[str, DeviceAttribute]]:
    function = device.function
    if device.subfunction is None:  # its address is its parent's
        yield f"{STANDARD}/pciBusID", DeviceAttribute(string=function.bdf)
    yield f"{STANDARD}/pcieRoot", DeviceAttribute(string=pcie_root(device))
    if function.numa_node is not None and function.numa_node >= 0:
        node = DeviceAttribute(integer=function.numa_node)
        yield f"{STANDARD}/numaNode", node
        yield "dra.net/numaNode", node


def _vendor_attributes(
    device: Device, pool: PoolSpec, details: Mapping[str, str]
) -> Iterator[tuple[str, DeviceAttribute]]:
    function = device.function
    driver = function.driver or ""
    kind = "npu" if is_npu(device) else "vfio" if "vfio" in driver else pool.device_type
    yield "type", DeviceAttribute(string=kind)
    product = PRODUCTS.get(function.product[:3], "") if function.vendor == REBELLIONS else ""
    yield "productName", DeviceAttribute(string=details.get("card_name", "") or product)
    yield "pciDeviceID", DeviceAttribute(string=function.product)
    yield "driverVersion", version_attribute(details.get("kernel_version", ""))
    yield "firmwareVersion", version_attribute(details.get("fw_version", ""))
    yield "uuid", DeviceAttribute(string=details.get("uuid", ""))
    yield "sid", DeviceAttribute(string=details.get("sid", ""))


def _own_attributes(
    device: Device, pool: PoolSpec, card: Bdf | None
) -> Iterator[tuple[str, DeviceAttribute]]:
    yield "resourcePool", DeviceAttribute(string=pool.name)
    yield "card", DeviceAttribute(string=card or "")
    yield "pf", DeviceAttribute(string=device.pf or "")
    if device.index is not None:
        name = "sfNumber" if device.subfunction else "vfIndex"
        yield name, DeviceAttribute(integer=device.index)
