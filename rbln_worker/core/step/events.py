"""Events of a worker: messages, results of effects, and times."""

from collections.abc import Mapping

import msgspec

from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.messages import ToWorker
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.contract.problem import Problem
from rbln_worker.core.health.evidence import CheckResult, Depth
from rbln_worker.core.registration_events import DirsChecked, EndpointChange


class LinkConnected(msgspec.Struct, frozen=True):
    """There is a connection to a supervisor that got no hello yet."""


class HeartbeatDue(msgspec.Struct, frozen=True):
    """Time for a heartbeat and periodic checks."""

    problems: tuple[Problem, ...] = ()
    """Problems outside of the state: with the file of events, and of preferred allocations."""


class TimerDue(msgspec.Struct, frozen=True):
    """The deadline of the state has passed."""


class CheckCompleted(msgspec.Struct, frozen=True):
    """Results of a health check: all, or a part of them."""

    checked: Mapping[DeviceId, Device]
    """The devices as they were when the check began."""
    pool: PoolSpec
    depth: Depth
    found: Mapping[DeviceId, CheckResult]
    repeat: frozenset[DeviceId] = frozenset()
    """Devices that were requested while their check ran, which may have read an earlier state."""


class SpecWritten(msgspec.Struct, frozen=True):
    """The CDI spec was written."""

    problem: str = ""
    """The reason why it was not; empty if it was."""


class FilesSettled(msgspec.Struct, frozen=True):
    """Host files were written or removed."""

    problem: str
    """The problem with the list of files; empty if there is none."""


class NodesChanged(msgspec.Struct, frozen=True):
    """Files in the folders of device nodes changed."""

    nodes: frozenset[str] | None
    """Host paths; None if they are not known."""
    in_progress: frozenset[DeviceId] = frozenset()
    """Devices whose check runs, and may miss the change."""


class KubeletDirsChanged(msgspec.Struct, frozen=True):
    """Files in the kubelet's folders changed."""


class EndpointEvent(msgspec.Struct, frozen=True):
    """An event of one endpoint."""

    number: int
    event: EndpointChange


class ClaimsChanged(msgspec.Struct, frozen=True):
    """The prepared claims of a pool that is exported by DRA have changed."""

    claims: tuple[PreparedClaim, ...]


class SlicesSettled(msgspec.Struct, frozen=True):
    """The first ResourceSlices are published, or the API server did not take them in time."""


class DrainRequested(msgspec.Struct, frozen=True):
    """The worker has to end."""

    reason: str
    code: Exit = Exit.DRAINED


ScheduleEvent = HeartbeatDue | TimerDue | CheckCompleted | NodesChanged | DrainRequested
KubeletEvent = KubeletDirsChanged | DirsChecked | EndpointEvent
FilesEvent = SpecWritten | FilesSettled | ClaimsChanged | SlicesSettled
Event = ToWorker | LinkConnected | ScheduleEvent | FilesEvent | KubeletEvent
