"""Every frame between the supervisor and a worker, in one encoding (MessagePack).

State, not events: a message replaces what its receiver knew. The supervisor numbers the desired
state of a pool (*generation*) within its own life (*session*). New fields get defaults, types never
change: each side may be the older one, because workers outlive the supervisor. There is no message
to end a worker: SIGTERM works without a connection, too.
"""

from enum import StrEnum
from typing import Final

import msgspec

from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.errors import RblnError
from rbln_worker.contract.health import Judged
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.contract.problem import Problem

MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
"""Maximum size of a frame, in bytes. A longer one ends its sender's connection. 20,000 devices of
300 bytes fit."""


class Phase(StrEnum):
    """Registration state of a worker."""

    WAITING = "waiting"
    """Waiting for a kubelet or a device."""
    REGISTERING = "registering"
    """Serving; the kubelet has not opened its ListAndWatch stream yet."""
    REGISTERED = "registered"
    """The kubelet has a ListAndWatch stream open."""


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The whole desired state of the pool."""

    session: str
    generation: int
    pool: PoolSpec
    devices: tuple[Device, ...]
    """Devices, sorted by ID."""
    repeats_list: bool = False
    """True if the kubelet may have a predecessor's list: the worker sends its own again."""


class CheckDevices(msgspec.Struct, frozen=True, tag="nudge"):
    """A request to check devices because of a kernel event.

    A hint and not state: if it is lost, the next health check has the same result.
    """

    devices: tuple[DeviceId, ...] = ()
    """Devices to check at once; if empty: all devices, after more urgent ones."""


class StateRequest(msgspec.Struct, frozen=True, tag="recall"):
    """A request for a worker's state: the first message to an adopted worker; state follows.

    Only the worker knows devices that are gone, and facts that cannot be read any more.
    """


class PodsHold(msgspec.Struct, frozen=True, tag="pods-hold"):
    """The devices that pods hold: all of this pool, and others that were given by a numbered node.

    It is sent before the pool's first state, so that the first list for the kubelet respects it.
    """

    devices: tuple[PodDevice, ...] = ()
    is_known: bool = True
    """True if the kubelet or its checkpoint was the source; otherwise a pod may hold any device."""


ToWorker = Snapshot | CheckDevices | PodsHold | StateRequest


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first message on every connection; the supervisor may be a new one."""

    pool: PoolName
    pid: int
    incarnation: str
    """The ID of one life of a worker; assigned by the supervisor that forked it."""
    version: str
    session: str = ""
    """The session of the state that the worker has; empty if it has none."""
    generation: int = 0
    options: str = ""
    """A digest of the options that the worker started with (WorkerSpec.options_digest)."""


class StateReport(msgspec.Struct, frozen=True, tag="holds"):
    """The answer to a Recall: the state from an earlier supervisor that the worker serves."""

    pool: PoolSpec | None = None
    """None if that supervisor died before it sent a state."""
    devices: tuple[Device, ...] = ()


class Report(msgspec.Struct, frozen=True, tag="report"):
    """The state of a worker for the status; sent after a change, and after a hello."""

    phase: Phase
    reason: str = ""
    """The missing thing that it waits for, or the error of the last registration."""
    registration: str = ""
    """``kubelet-sock`` or ``plugin-watcher``; empty before one was chosen."""
    endpoint: str = ""
    """The file name of the socket; empty if nothing is served."""
    devices: tuple[Judged, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Problems of the pool that may still serve."""
    claims: tuple[PreparedClaim, ...] = ()
    """Prepared claims, of a pool that is exported by DRA."""
    awaits_slices: bool = False
    """True until the first ResourceSlices of such a pool are published, or some time has passed."""


class Heartbeat(msgspec.Struct, frozen=True, tag="beat"):
    """A heartbeat, with the generation that the worker has."""

    session: str = ""
    generation: int = 0


ToSupervisor = Hello | StateReport | Report | Heartbeat | WorkerCounters

HEARTBEAT_INTERVAL_S: Final = 2.0
"""Seconds between two heartbeats."""

_ENCODER: Final = msgspec.msgpack.Encoder()
_TO_WORKER: Final[msgspec.msgpack.Decoder[ToWorker]] = msgspec.msgpack.Decoder(ToWorker)
_TO_SUPERVISOR: Final[msgspec.msgpack.Decoder[ToSupervisor]] = msgspec.msgpack.Decoder(ToSupervisor)


class FrameError(RblnError):
    """A frame that is not a message of the contract: garbage, or a value with a wrong type."""


def encode_message(message: ToWorker | ToSupervisor) -> bytes:
    """Encode a message as one frame."""
    return _ENCODER.encode(message)


def to_worker(frame: bytes | memoryview) -> ToWorker:
    """Decode a frame from the supervisor; raise FrameError if it is not a message."""
    try:
        return _TO_WORKER.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(str(error)) from error


def to_supervisor(frame: bytes | memoryview) -> ToSupervisor:
    """Decode a frame from a worker; raise FrameError if it is not a message."""
    try:
        return _TO_SUPERVISOR.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(str(error)) from error
