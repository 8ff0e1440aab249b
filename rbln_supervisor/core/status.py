"""What ``rbln-ctl status --json`` prints: stable names, for people's scripts and the exporter."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pod_devices import PodSource

PoolState = Literal["starting", "serving", "waiting", "backoff", "invalid"]
"""``starting``: its worker lives and the kubelet does not list it yet; ``serving``: it is listed;
``waiting``: for a kubelet or a device; ``backoff``: its worker ended and is started again later;
``invalid``: its configuration can't be used."""


class SupervisorStatus(msgspec.Struct, frozen=True):
    """The supervisor itself."""

    pid: int
    version: str
    uptime_s: float
    ready: bool
    """Every valid pool that has devices is listed by the kubelet."""
    problems: tuple[str, ...] = ()
    """What is wrong on the node, one line each: devices that can't be read, refused reloads, …"""
    pod_source: PodSource | None = None
    """Where it is known from which pods hold which devices; None before the first answer."""
    counters: Mapping[str, int] = {}
    """Dropped frames and other things that happened, since the supervisor started."""


class WorkerStatus(msgspec.Struct, frozen=True):
    """A pool's worker process."""

    pid: int | None = None
    restarts: int = 0
    last_exit: str | None = None
    """How its last life ended, such as ``killed by SIGKILL 12 s ago``."""
    last_log: tuple[str, ...] = ()
    """The last log lines of the life that ended."""
    backoff_s: float | None = None
    """Seconds until it is started again."""
    failed_writes: int = 0
    """How often this life could not write a file for container runtimes or CNI plugins."""
    version: str = ""
    """As it said hello; another one than the supervisor's until it is replaced."""


class PodUse(msgspec.Struct, frozen=True):
    """A pod that holds a device."""

    namespace: str
    pod: str
    """Empty, like ``namespace``, where only the pod's UID is known."""
    container: str
    uid: str
    """Empty where the source does not name it."""
    since: float | None
    """When the pod started, or when it was first seen (seconds since the epoch)."""
    source: PodSource
    """Who says so."""


class DeviceStatus(msgspec.Struct, frozen=True):
    """A device of a pool."""

    health: Literal["Healthy", "Unhealthy"]
    """What the kubelet hears."""
    reason: str
    """Why it is not Healthy, or what is suspected; empty where all is well."""
    numa: int | None
    phase: HealthPhase = HealthPhase.HEALTHY
    """Where it really stands: ``suspect`` and ``unknown`` are still Healthy for a while,
    ``probation`` is still Unhealthy."""
    source: str = ""
    """Where the reason comes from: ``sysfs``, ``link``, ``node``, ``npu-status``, …"""
    since: float | None = None
    """When it came to this phase (seconds since the epoch)."""
    warnings: tuple[str, ...] = ()
    """What is odd about it although it works."""
    pods: tuple[PodUse, ...] = ()
    """The pods that hold it."""


class PoolStatus(msgspec.Struct, frozen=True):
    """A resource pool."""

    state: PoolState
    registered: bool
    registration: Literal["kubelet-sock", "plugin-watcher"] | None
    reason: str
    """What it waits for, or what is invalid; empty while it serves."""
    endpoint: str | None
    """The file name of the socket that the kubelet knows."""
    worker: WorkerStatus
    devices: Mapping[str, DeviceStatus]
    """By device ID, sorted."""
    problems: tuple[str, ...] = ()
    """What is wrong although the pool may serve, one line each."""


class NodeStatus(msgspec.Struct, frozen=True):
    """The whole answer."""

    supervisor: SupervisorStatus
    pools: Mapping[str, PoolStatus]
    """By the resource's whole name (``resourceList[1]`` for an invalid pool that has none)."""
