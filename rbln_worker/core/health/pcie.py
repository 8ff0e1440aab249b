"""What the PCI core says of a function: config space, fatal errors, its link's speed and width.

Kernel: Documentation/ABI/testing/sysfs-bus-pci, sysfs-bus-pci-devices-aer_stats.
"""

import re
from typing import Final

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.core.facts import Facts, Head, Missing, Need, Text
from rbln_worker.core.health.observation import GOOD, Bad, Observation
from rbln_worker.core.providers.offer import pci_home

HEADER_BYTES: Final = 64
"""Of a type 0 header. A VF's vendor and device are all ones (SR-IOV 1.1, 3.4.1.1), no VF's whole
header is."""
FATAL_FOR_S: Final = 60.0
"""A fatal error counts so long after the last one."""

_TOTAL: Final = re.compile(r"^TOTAL_ERR_FATAL[ \t]+([0-9]{1,20})\s*$", re.ASCII | re.MULTILINE)
_SPEED: Final = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?) GT/s\b.*", re.ASCII | re.DOTALL)
_WIDTH: Final = re.compile(r"[0-9]{1,3}", re.ASCII)


class FatalErrors(msgspec.Struct, frozen=True):
    """What is remembered of a function's fatal errors (AER)."""

    total: int
    rose_at: float | None = None
    """When a look last found more of them (monotonic seconds); not at the first one."""


def needs(device: Device) -> tuple[Text, ...]:
    """What can be read whatever power state the function is in."""
    return _runtime_status(device), _fatal(device)


def further_needs(device: Device, facts: Facts) -> tuple[Need, ...]:
    """What reaches the function itself; nothing of one that sleeps, which a read would wake."""
    if facts.text(_runtime_status(device)) in {"suspended\n", "suspended"}:
        return ()
    if device.pf is not None:  # a VF has no link of its own
        return (_config(device),)
    return (_config(device), *(_link(device, file) for file in _LINK_FILES))


def glance_needs(device: Device) -> tuple[Need, ...]:
    """What may turn bad within seconds, and is told by nobody; whether it sleeps goes first."""
    return _runtime_status(device), _config(device)


def config_space(device: Device, facts: Facts) -> Observation:
    """Whether it answers reads of its config space; no evidence where nobody could ask."""
    header = facts.head(_config(device))
    if not isinstance(header, Missing) and header == b"\xff" * HEADER_BYTES:
        return Bad("config-space", "its config space reads all ones: it fell off the bus")
    return GOOD


def fatal_total(device: Device, facts: Facts) -> int | None:
    """How many fatal errors were counted since it came; None where nobody counts."""
    text = facts.text(_fatal(device))
    found = None if isinstance(text, Missing) else _TOTAL.search(text)
    return int(found[1]) if found else None


def remember(before: FatalErrors | None, total: int | None, now: float) -> FatalErrors | None:
    """What is to be remembered after a look; fewer than before means that counting began anew."""
    if total is None:
        return before
    if before is None:
        return FatalErrors(total)
    return FatalErrors(total, now if total > before.total else before.rose_at)


def fatal_until(errors: FatalErrors | None, now: float) -> float | None:
    """Until when the errors count (monotonic seconds); None where they don't any more."""
    if errors is None or errors.rose_at is None or errors.rose_at + FATAL_FOR_S <= now:
        return None
    return errors.rose_at + FATAL_FOR_S


def link_warning(device: Device, facts: Facts) -> str | None:
    """What is odd about a link that is narrower or slower than the function can; it works."""
    speed, width, best_speed, best_width = (facts.text(_link(device, file)) for file in _LINK_FILES)
    slow = _less(_speed(speed), _speed(best_speed))
    narrow = _less(_width(width), _width(best_width))
    if not (slow or narrow):
        return None
    now = f"{_speed(speed) or '?'} GT/s x{_width(width) or '?'}"
    best = f"{_speed(best_speed) or '?'} GT/s x{_width(best_width) or '?'}"
    return f"its PCIe link runs at {now}, it can do {best}"


_LINK_FILES: Final = (
    "current_link_speed",
    "current_link_width",
    "max_link_speed",
    "max_link_width",
)


def _less(current: float | None, best: float | None) -> bool:
    return current is not None and best is not None and current < best


def _speed(text: str | Missing) -> float | None:
    """``32.0 GT/s PCIe``; ``Unknown`` is what a VF says."""
    found = None if isinstance(text, Missing) else _SPEED.fullmatch(text.strip())
    return float(found[1]) or None if found else None


def _width(text: str | Missing) -> int | None:
    if isinstance(text, Missing) or not _WIDTH.fullmatch(text.strip()):
        return None
    return int(text.strip()) or None  # int() takes less for white space than strip() does


def _runtime_status(device: Device) -> Text:
    return Text(f"{pci_home(device)}/power/runtime_status")


def _fatal(device: Device) -> Text:
    return Text(f"{pci_home(device)}/aer_dev_fatal")


def _config(device: Device) -> Head:
    return Head(f"{pci_home(device)}/config", HEADER_BYTES)


def _link(device: Device, file: str) -> Text:
    return Text(f"{pci_home(device)}/{file}")
