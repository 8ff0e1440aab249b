"""Reasons of Kubernetes Events: stable names, each with its type and action."""

from enum import StrEnum
from typing import Final, Literal

EventKind = Literal["Normal", "Warning"]


class EventReason(StrEnum):
    """Reasons, for people, scripts and alerts. Each has a row in docs/reference/events.md."""

    kind: EventKind
    action: str
    """The act of the plugin that had this result (events.k8s.io: ``action``)."""

    def __new__(cls, value: str, kind: EventKind, action: str) -> "EventReason":
        """Make a member with its type and action."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.kind = kind
        member.action = action
        return member

    DEVICE_UNHEALTHY = "DeviceUnhealthy", "Warning", "HealthCheck"
    DEVICE_HEALTHY = "DeviceHealthy", "Normal", "HealthCheck"
    DEVICE_FLAPPING = "DeviceFlapping", "Warning", "HealthCheck"
    DEVICE_NOT_ANSWERING = "DeviceNotAnswering", "Warning", "HealthCheck"
    DEVICE_REMOVED = "DeviceRemoved", "Warning", "Discovery"
    POOL_WORKER_RESTARTED = "PoolWorkerRestarted", "Warning", "RestartWorker"
    POOL_INVALID = "PoolInvalid", "Warning", "ReadConfiguration"
    CONFIGURATION_REFUSED = "ConfigurationRefused", "Warning", "ReadConfiguration"
    CONFIGURATION_APPLIED = "ConfigurationApplied", "Normal", "ReadConfiguration"
    FOREIGN_EXPORTER = "ForeignExporter", "Warning", "Discovery"


OF_DEVICES: Final = frozenset(
    {
        EventReason.DEVICE_UNHEALTHY,
        EventReason.DEVICE_HEALTHY,
        EventReason.DEVICE_FLAPPING,
        EventReason.DEVICE_NOT_ANSWERING,
        EventReason.DEVICE_REMOVED,
    }
)
"""Reasons that pods with the device see, too."""
BY_TEXT: Final = frozenset(
    {
        EventReason.POOL_INVALID,
        EventReason.CONFIGURATION_REFUSED,
        EventReason.CONFIGURATION_APPLIED,
        EventReason.FOREIGN_EXPORTER,
    }
)
"""Reasons whose text says what happened: another text is another Event."""
