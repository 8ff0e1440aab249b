"""A pool and its worker as one value, the events that change it, and their effects."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_supervisor.core.workers.lifecycle import Act, Child, State
from rbln_supervisor.core.workers.predecessor import Predecessor
from rbln_supervisor.core.workers.sent_state import SentToWorker
from rbln_supervisor.core.workers.worker_events import Event, ExportEnded, NotNeeded
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.messages import PodsHold, Report, ToWorker
from rbln_worker.contract.pod_devices import PodDevice, PodSource
from rbln_worker.contract.pool import PoolName


class KnownWorker(msgspec.Struct, frozen=True):
    """What is known of a living worker."""

    pid: int | None = None
    """None: there is none."""
    incarnation: str = ""
    driver: str = ""
    """Its DRA driver; empty: it serves the device-plugin API."""
    version: str = ""
    """From its hello."""
    address: bytes | None = None
    """At the router; None before its hello."""
    report: Report | None = None
    sent: SentToWorker = SentToWorker()


class ManagedPool(msgspec.Struct, frozen=True):
    """A pool that has a worker, or had one."""

    name: PoolName
    session: str
    """Of this run of the supervisor."""
    options: str
    """Digest of the options that its workers are forked with."""
    driver: str = ""
    """DRA driver that its workers are forked with; empty: the device-plugin API."""
    configured: bool = True
    desired: DesiredState | None = None
    child: Child = Child()
    worker: KnownWorker = KnownWorker()
    predecessor: Predecessor | None = None
    """Serves until the kubelet lists the new worker."""
    predecessor_address: bytes | None = None
    pods_hold: PodsHold | None = None
    """Pod devices that the worker needs before any other message; None: not known yet."""
    holders: Mapping[DeviceId, tuple[PodDevice, ...]] = {}
    """Pods that use the pool's devices."""
    pod_source: PodSource = PodSource.NONE

    @property
    def is_adopting(self) -> bool:
        """True while an orphan has not reported its state: it may know devices that are gone."""
        return self.child.state is State.ADOPTING

    @property
    def has_ended(self) -> bool:
        """True if no worker serves the pool, and none is wanted."""
        return self.child.state is State.NONE and self.predecessor is None

    @property
    def has_other_export(self) -> bool:
        """True if its worker exports it in another way than is configured."""
        return self.worker.pid is not None and self.worker.driver != self.driver

    @property
    def end_of_export(self) -> NotNeeded | ExportEnded:
        """The event that ends the export of its worker, or of the one that died."""
        driver = self.driver if self.worker.pid is None else self.worker.driver
        return ExportEnded() if driver else NotNeeded()

    @property
    def deadlines(self) -> tuple[float, ...]:
        """Times of the next ``DeadlinePassed`` events that change something (monotonic seconds)."""
        replaced = self.predecessor.deadline if self.predecessor else None
        return tuple(one for one in (self.child.deadline, replaced) if one is not None)


class WorkerStarted(msgspec.Struct, frozen=True):
    """Event: the worker was forked."""

    pid: int
    incarnation: str


class MessageSent(msgspec.Struct, frozen=True):
    """Event: the message that was due was sent to the worker."""

    message: ToWorker


class PredecessorExited(msgspec.Struct, frozen=True):
    """Event: the predecessor's process has ended and was reaped."""


PoolEvent = Event | WorkerStarted | MessageSent | PredecessorExited


class RecordEvent(msgspec.Struct, frozen=True):
    """Effect: log what happened to the worker, and record it in the event log."""

    what: Literal["started", "not started", "adopted", "replaced", "left", "died", "hangs"]
    why: str


class CleanUpAfterWorker(msgspec.Struct, frozen=True):
    """Effect: record the exit of the worker, and remove the socket that it left."""

    how: str
    report: Report | None
    """Its last report."""
    restart_cause: str
    """Label of the exit, if a restart follows; otherwise empty."""


PoolEffect = Act | RecordEvent | CleanUpAfterWorker
