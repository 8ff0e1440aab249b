"""A problem, with all that a reader needs who can't ask for more."""

from typing import Final, Literal

import msgspec

Severity = Literal["error", "warning", "note"]
"""``error``: devices are not allocatable, or not all; ``warning``: that may happen, or there is an
irregularity; ``note``: worth knowing."""

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
"""Each has a row in docs/operate.md, and a real fault in tests/system against which doctor runs."""

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")

MAX_EVIDENCE: Final = 8
"""Maximum lines of evidence; then "and N more"."""


class Finding(msgspec.Struct, frozen=True):
    """A problem, its evidence, and a remedy."""

    code: Code
    """Stable, for scripts and runbooks: ``kubelet-silent``."""
    severity: Severity
    subject: str
    """Pool, device or path; empty for the node."""
    cause: str
    """One sentence."""
    next: str
    """A command, or a change to make."""
    evidence: tuple[str, ...] = ()
    """Observations, one line each."""


def count_text(number: int, what: str) -> str:
    """Return ``1 device``, ``2 devices``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def limit_evidence(lines: list[str]) -> tuple[str, ...]:
    """Return lines, up to the maximum."""
    more = len(lines) - MAX_EVIDENCE
    return (*lines[:MAX_EVIDENCE], *([f"… and {more} more"] if more > 0 else []))
