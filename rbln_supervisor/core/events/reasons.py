"""Reasons of Kubernetes Events: stable names, each with its type and action."""

from enum import StrEnum
from typing import Literal

EventKind = Literal["Normal", "Warning"]
SeriesBy = Literal["device", "source", "text"]


class EventReason(StrEnum):
    """Reasons, for people, scripts and alerts. Each has a row in docs/reference/events.md."""

    kind: EventKind
    action: str
    """The act of the plugin that had this result (events.k8s.io: ``action``)."""
    series_by: SeriesBy
    """``device``: pods with the device see it, too; ``text``: another text is another Event."""

    def __new__(
        cls, value: str, kind: EventKind, action: str, series_by: SeriesBy
    ) -> "EventReason":
        """Make a member with its properties."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.kind = kind
        member.action = action
        member.series_by = series_by
        return member

    DEVICE_UNHEALTHY = "DeviceUnhealthy", "Warning", "HealthCheck", "device"
    DEVICE_HEALTHY = "DeviceHealthy", "Normal", "HealthCheck", "device"
    DEVICE_FLAPPING = "DeviceFlapping", "Warning", "HealthCheck", "device"
    DEVICE_NOT_ANSWERING = "DeviceNotAnswering", "Warning", "HealthCheck", "device"
    DEVICE_REMOVED = "DeviceRemoved", "Warning", "Discovery", "device"
    POOL_WORKER_RESTARTED = "PoolWorkerRestarted", "Warning", "RestartWorker", "source"
    POOL_INVALID = "PoolInvalid", "Warning", "ReadConfiguration", "text"
    CONFIGURATION_REFUSED = "ConfigurationRefused", "Warning", "ReadConfiguration", "text"
    CONFIGURATION_APPLIED = "ConfigurationApplied", "Normal", "ReadConfiguration", "text"
    FOREIGN_EXPORTER = "ForeignExporter", "Warning", "Discovery", "text"
