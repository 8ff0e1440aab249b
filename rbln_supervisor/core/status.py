"""The JSON of ``rbln-ctl status --json``: stable names, for scripts and the exporter."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import msgspec

from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pod_devices import PodSource
from rbln_worker.contract.problem import Code, Problem

PoolState = Literal["starting", "serving", "waiting", "backoff", "invalid"]
"""``starting``: its worker lives, and the kubelet does not list it yet, or its first ResourceSlices
are not published yet; ``serving``: it is listed;
``waiting``: for a kubelet or a device; ``backoff``: its worker ended and is started again later;
``invalid``: its configuration can't be used."""


class CounterName(StrEnum):
    """Counters of the supervisor. Each has a row in docs/operate.md."""

    UEVENTS = "uevents"
    """Kernel events about devices."""
    UEVENTS_LOST = "uevents-lost"
    """Times that the kernel dropped uevents."""
    LINK_CHANGES = "link-changes"
    LINK_CHANGES_LOST = "link-changes-lost"
    KUBELET_RESTARTS = "kubelet-restarts"
    RELOADS = "reloads"
    RELOADS_REFUSED = "reloads-refused"
    WORKER_FRAMES_UNREADABLE = "worker-frames-unreadable"
    WORKER_FRAMES_UNKNOWN = "worker-frames-unknown"
    """Frames of workers that the supervisor does not know."""
    FRAMES_UNREADABLE_BY_WORKERS = "frames-unreadable-by-workers"
    CONTROL_FRAMES_UNREADABLE = "control-frames-unreadable"
    REPLIES_UNDELIVERED = "replies-undelivered"


class SupervisorStatus(msgspec.Struct, frozen=True):
    """The supervisor itself."""

    pid: int
    version: str
    uptime_s: float
    ready: bool
    """True if the kubelet lists every valid pool that has devices."""
    problems: tuple[Problem, ...] = ()
    """Problems of the node: devices that can't be read, refused reloads, …"""
    pod_source: PodSource | None = None
    """Source of the pods that hold devices; None before the first answer."""
    counters: Mapping[CounterName, int] = {}
    """Counts since the start of the supervisor; 0 is left out."""


class WorkerStatus(msgspec.Struct, frozen=True):
    """A pool's worker process."""

    pid: int | None = None
    restarts: int = 0
    last_exit: str | None = None
    """Exit status of the previous worker, such as ``killed by SIGKILL 12 s ago``."""
    last_log: tuple[str, ...] = ()
    """Last log lines of the previous worker."""
    backoff_s: float | None = None
    """Seconds until it is started again."""
    failed_writes: int = 0
    """Number of failed writes of files for container runtimes or CNI plugins by this worker."""
    version: str = ""
    """Version in its hello; differs from the supervisor's until the worker is replaced."""


class PodUse(msgspec.Struct, frozen=True):
    """A pod that holds a device."""

    namespace: str
    pod: str
    """Empty, like ``namespace``, if only the pod's UID is known."""
    container: str
    uid: str
    """Empty if the source does not report it."""
    since: float | None
    """Time of the pod's start, or when it was first seen (seconds since the epoch)."""
    source: PodSource
    """Source of this entry."""
    claim: str = ""
    """The ResourceClaim by which it holds the device, ``namespace/name``; empty without one."""


class DeviceStatus(msgspec.Struct, frozen=True):
    """A device of a pool."""

    health: Literal["Healthy", "Unhealthy"]
    """Health that the kubelet gets."""
    reason: str
    """Reason why it is not Healthy, or doubtful evidence; empty without a problem."""
    numa: int | None
    phase: HealthPhase = HealthPhase.HEALTHY
    """State in detail: ``suspect`` and ``unknown`` are still Healthy for a while, ``probation`` is
    still Unhealthy."""
    source: str = ""
    """Source of the evidence: ``sysfs``, ``link``, ``node``, ``npu-status``, …"""
    since: float | None = None
    """Begin of this phase (seconds since the epoch)."""
    warnings: tuple[str, ...] = ()
    """Irregularities of a device that works."""
    pods: tuple[PodUse, ...] = ()
    """Pods that hold it."""


class PoolStatus(msgspec.Struct, frozen=True):
    """A resource pool."""

    state: PoolState
    registered: bool = False
    registration: str | None = None
    """``kubelet-sock`` or ``plugin-watcher``; None before one was chosen."""
    reason: str = ""
    """Reason why it waits or is invalid; empty while it serves."""
    endpoint: str | None = None
    """File name of the socket that the kubelet knows."""
    worker: WorkerStatus = WorkerStatus()
    devices: Mapping[str, DeviceStatus] = {}
    """By device ID, sorted."""
    problems: tuple[Problem, ...] = ()
    """Problems of a pool that may still serve."""
    driver: str = ""
    """Its DRA driver; empty if it is exported by the device-plugin API."""
    claims: tuple[PreparedClaim, ...] = ()
    """Prepared claims, of a pool that is exported by DRA."""

    @property
    def prevents_readiness(self) -> bool:
        """True if the kubelet does not list it although it could, or its slices are refused.

        A pool without devices waits for hardware, an invalid one for its owner: another instance
        would serve neither, so no update has to wait for them. Nor does it for an API server that
        is away: other pools need none.
        """
        if not self.devices or self.state == "invalid":
            return False
        return not self.registered or any(
            one.code is Code.SLICES_NOT_PUBLISHED for one in self.problems
        )


class NodeStatus(msgspec.Struct, frozen=True):
    """The status of the node."""

    supervisor: SupervisorStatus
    pools: Mapping[str, PoolStatus]
    """By the full resource name (``resourceList[1]`` for an invalid pool without one)."""

    @property
    def unready_reasons(self) -> tuple[str, ...]:
        """Reasons why the node is not ready, one line each; empty if it is.

        A kubelet shows the lines as the event of a probe that failed.
        """
        if self.supervisor.ready:
            return ()
        reasons = tuple(
            f"{name} is {pool.state}{f': {pool.reason}' if pool.reason else ''}"
            for name, pool in self.pools.items()
            if pool.prevents_readiness
        )
        return reasons or (
            "not ready: the first discovery is running, or the supervisor is stopping",
        )
