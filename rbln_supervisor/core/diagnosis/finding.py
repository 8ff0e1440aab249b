"""A thing that is wrong, with all that somebody needs who can't ask back."""

from typing import Final, Literal

import msgspec

Severity = Literal["error", "warning", "note"]
"""``error``: devices can't be given out, or not all; ``warning``: that may come, or something is
odd; ``note``: worth knowing."""

Code = Literal[
    "not-examined",
    "no-answer",
    "run-dir-missing",
    "run-dir-closed",
    "supervisor-down",
    "supervisor-hangs",
    "version-differs",
    "kubelet-dir-missing",
    "kubelet-sock-missing",
    "kubelet-silent",
    "kubelet-plugins-closed",
    "plugins-registry-closed",
    "plugins-registry-missing",
    "pod-resources-missing",
    "pod-resources-silent",
    "config-unusable",
    "pool-invalid",
    "config-odd",
    "pool-empty",
    "pool-unregistered",
    "pool-problem",
    "problem",
    "selectors-overlap",
    "worker-restarting",
    "worker-restarted",
    "driver-missing",
    "driver-unwanted",
    "device-unclaimed",
    "node-missing",
    "rsd-missing",
    "rbln-stat-missing",
    "iommu-off",
    "iommu-group-shared",
    "device-unhealthy",
    "device-suspect",
    "device-warning",
    "device-unreadable",
    "look-failed",
    "reload-refused",
    "reload-rolled-back",
    "config-not-in-force",
    "eswitch-mode-unread",
    "netlink-deaf",
    "events-lost",
    "frames-dropped",
    "events-unwritten",
    "inotify-exhausted",
    "inotify-short",
    "inotify-watches-short",
    "descriptors-short",
    "cdi-closed",
    "device-info-closed",
    "spec-invalid",
]
"""What docs/operate.md has a row for, and tests/system a real fault that doctor is run against."""

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")

EVIDENCE_MOST: Final = 8
"""Lines of evidence; then "and N more"."""


class Finding(msgspec.Struct, frozen=True):
    """What is wrong, how that is known, and what to do."""

    code: Code
    """Stable, for scripts and runbooks: ``kubelet-silent``."""
    severity: Severity
    subject: str
    """What it is about: a pool, a device, a path; empty where it is the node."""
    cause: str
    """A sentence."""
    next: str
    """A command, or what to change."""
    evidence: tuple[str, ...] = ()
    """What was seen, a line each."""


def counted(number: int, what: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def evidence(lines: list[str]) -> tuple[str, ...]:
    """Lines, not too many of them."""
    more = len(lines) - EVIDENCE_MOST
    return (*lines[:EVIDENCE_MOST], *([f"… and {more} more"] if more > 0 else []))
