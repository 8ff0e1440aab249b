"""Evidence from the PCI core: config space, fatal errors, speed and width of the link.

Kernel: Documentation/ABI/testing/sysfs-bus-pci, sysfs-bus-pci-devices-aer_stats.
"""

import re
from typing import Final

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.core.allocation.host_facts import FirstBytes, HostFacts, Need, Text, Unread
from rbln_worker.core.allocation.providers.provider import pci_sysfs_dir
from rbln_worker.core.health.observation import GOOD, Bad, Observation

HEADER_BYTES: Final = 64
"""Size of a type 0 header. A VF's vendor and device are all ones (SR-IOV 1.1, 3.4.1.1), but never
its whole header."""
FATAL_ERROR_HOLD_S: Final = 60.0
"""Seconds for which a fatal error makes a device Unhealthy."""

_TOTAL: Final = re.compile(r"^TOTAL_ERR_FATAL[ \t]+([0-9]{1,20})\s*$", re.ASCII | re.MULTILINE)
_SPEED: Final = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?) GT/s\b.*", re.ASCII | re.DOTALL)
_WIDTH: Final = re.compile(r"[0-9]{1,3}", re.ASCII)


class FatalErrors(msgspec.Struct, frozen=True):
    """The record of a function's fatal errors (AER)."""

    total: int
    rose_at: float | None = None
    """The time of the last check with an increased count, except the first (monotonic seconds)."""


def base_reads(device: Device) -> tuple[Text, ...]:
    """Return the reads that are possible in any power state of the function."""
    return _runtime_status_file(device), _fatal_errors_file(device)


def wakeful_reads(device: Device, facts: HostFacts) -> tuple[Need, ...]:
    """Return the reads that access the function; none if they would wake it."""
    if facts.text(_runtime_status_file(device)) in {"suspended\n", "suspended"}:
        return ()
    if device.pf is not None:  # a VF has no link
        return (_config_file(device),)
    return (_config_file(device), *(_pci_file(device, file) for file in _LINK_FILES))


def volatile_reads(device: Device) -> tuple[Need, ...]:
    """Return the reads for faults without a kernel event; the power state comes first."""
    return _runtime_status_file(device), _config_file(device)


def config_space(device: Device, facts: HostFacts) -> Observation:
    """Return Bad if its config space reads all ones; an unreadable file is no evidence."""
    header = facts.first_bytes(_config_file(device))
    if not isinstance(header, Unread) and header == b"\xff" * HEADER_BYTES:
        return Bad("config-space", "its config space reads all ones: it fell off the bus")
    return GOOD


def fatal_error_count(device: Device, facts: HostFacts) -> int | None:
    """Return the fatal errors counted since the function was added; None if none are counted."""
    text = facts.text(_fatal_errors_file(device))
    found = None if isinstance(text, Unread) else _TOTAL.search(text)
    return int(found[1]) if found else None


def update_fatal_errors(
    before: FatalErrors | None, total: int | None, now: float
) -> FatalErrors | None:
    """Return the record after a health check; a lower total means that the count was reset."""
    if total is None:
        return before
    if before is None:
        return FatalErrors(total)
    return FatalErrors(total, now if total > before.total else before.rose_at)


def fatal_errors_expire_at(errors: FatalErrors | None, now: float) -> float | None:
    """Return the time at which the errors expire (monotonic seconds); None if they have."""
    if errors is None or errors.rose_at is None or errors.rose_at + FATAL_ERROR_HOLD_S <= now:
        return None
    return errors.rose_at + FATAL_ERROR_HOLD_S


def link_warning(device: Device, facts: HostFacts) -> str | None:
    """Return a warning if the link is narrower or slower than its maximum; the device works."""
    speed, width, best_speed, best_width = (
        facts.text(_pci_file(device, one)) for one in _LINK_FILES
    )
    slow = _is_less(_link_speed(speed), _link_speed(best_speed))
    narrow = _is_less(_link_width(width), _link_width(best_width))
    if not (slow or narrow):
        return None
    now = f"{_link_speed(speed) or '?'} GT/s x{_link_width(width) or '?'}"
    best = f"{_link_speed(best_speed) or '?'} GT/s x{_link_width(best_width) or '?'}"
    return f"its PCIe link runs at {now}, it can do {best}"


_LINK_FILES: Final = (
    "current_link_speed",
    "current_link_width",
    "max_link_speed",
    "max_link_width",
)


def _is_less(current: float | None, best: float | None) -> bool:
    return current is not None and best is not None and current < best


def _link_speed(text: str | Unread) -> float | None:
    """Return the speed of ``32.0 GT/s PCIe``; a VF reports ``Unknown``."""
    found = None if isinstance(text, Unread) else _SPEED.fullmatch(text.strip())
    return float(found[1]) or None if found else None


def _link_width(text: str | Unread) -> int | None:
    if isinstance(text, Unread) or not _WIDTH.fullmatch(text.strip()):
        return None
    return int(text.strip()) or None  # int() accepts less white space than strip() does


def _runtime_status_file(device: Device) -> Text:
    return Text(f"{pci_sysfs_dir(device)}/power/runtime_status")


def _fatal_errors_file(device: Device) -> Text:
    return Text(f"{pci_sysfs_dir(device)}/aer_dev_fatal")


def _config_file(device: Device) -> FirstBytes:
    return FirstBytes(f"{pci_sysfs_dir(device)}/config", HEADER_BYTES)


def _pci_file(device: Device, file: str) -> Text:
    return Text(f"{pci_sysfs_dir(device)}/{file}")
