"""Every frame between the supervisor and a worker, in one encoding (MessagePack).

State, not events: a message replaces what its reader knew. The supervisor numbers what a pool
should be with a *generation* inside its *session* (one life of the supervisor); a worker that sees
a gap asks for a snapshot. New fields get defaults, types never change: either side may be the
older one, because workers outlive the supervisor. A worker is asked to leave by SIGTERM: that works
without a connection, too.
"""

from enum import StrEnum
from typing import Final

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.figures import Figures
from rbln_worker.contract.health import Judged
from rbln_worker.contract.history import History
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.contract.pool import PoolName, PoolSpec

FRAME_BYTES_MOST: Final = 8 * 1024 * 1024
"""A longer frame ends its sender's connection. 20,000 devices of 300 bytes fit."""


class Phase(StrEnum):
    """Where a worker stands with the kubelet."""

    WAITING = "waiting"
    """For something that is not there: a kubelet, a device."""
    REGISTERING = "registering"
    """Serving; the kubelet has not opened its ListAndWatch stream yet."""
    REGISTERED = "registered"
    """The kubelet holds a ListAndWatch stream."""


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The whole wanted state of the pool."""

    session: str
    generation: int
    pool: PoolSpec
    devices: tuple[Device, ...]
    """Sorted by ID."""


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """What differs between two generations; of use only to a worker that holds ``base``."""

    session: str
    base: int
    generation: int
    changed: tuple[Device, ...] = ()
    """New devices, and those of which something changed."""
    removed: tuple[DeviceId, ...] = ()


class Nudge(msgspec.Struct, frozen=True, tag="nudge"):
    """Something happened at these devices (the kernel said so): look at them.

    A hint and no state: who misses one sees the same at the next look.
    """

    devices: tuple[DeviceId, ...] = ()
    """At once; where none is named at all of them, after what is more urgent."""


class Recall(msgspec.Struct, frozen=True, tag="recall"):
    """What do you hold? The first word to a worker of an earlier supervisor's; state comes after.

    Who saw the node before knows of devices that are gone or that nobody can describe any more.
    It also means that a standard error can be borrowed, for the log (rbln_worker/stderr.py).
    """


class PodsHold(msgspec.Struct, frozen=True, tag="pods-hold"):
    """The devices that pods hold: all of this pool, and others that were given by a numbered node.

    It comes before the pool's first state, so that the kubelet's first list knows of it.
    """

    devices: tuple[PodDevice, ...] = ()
    is_known: bool = True
    """The kubelet or its checkpoint said so; else a pod may hold any device."""


State = Snapshot | Delta | Nudge | PodsHold
ToWorker = State | Recall


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first word on every connection, to a supervisor that may be a new one."""

    pool: PoolName
    pid: int
    incarnation: str
    """One life of a worker; given by the supervisor that forked it."""
    version: str
    session: str = ""
    """Whose state the worker holds; empty where it holds none."""
    generation: int = 0
    options: str = ""
    """A digest of what the worker was born with (Boot.digest)."""


class Holds(msgspec.Struct, frozen=True, tag="holds"):
    """The answer to a recall: the state of an earlier supervisor's that is served."""

    pool: PoolSpec | None = None
    """None where no state came before that supervisor died."""
    devices: tuple[Device, ...] = ()


class Report(msgspec.Struct, frozen=True, tag="report"):
    """All that people ask about a worker; sent when something of it changed, and after a hello."""

    phase: Phase
    reason: str = ""
    """What it waits for, or why the last registration failed."""
    registration: str = ""
    """``kubelet-sock`` or ``plugin-watcher``; empty before one was chosen."""
    endpoint: str = ""
    """The socket's file name; empty where nothing is served."""
    devices: tuple[Judged, ...] = ()
    registrations: int = 0
    """How often the kubelet took this worker's registration."""
    problems: tuple[str, ...] = ()
    """What is wrong with the pool although it may serve, one line each."""
    failed_writes: int = 0
    """How often a file for container runtimes or CNI plugins could not be written."""


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """I live, and this is the state I hold."""

    session: str = ""
    generation: int = 0
    dropped_frames: int = 0
    """Frames of the supervisor's that could not be read."""


class Wanted(msgspec.Struct, frozen=True, tag="wanted"):
    """I saw a gap: send me a snapshot."""

    generation: int = 0


ToSupervisor = Hello | Holds | Report | History | Beat | Wanted | Figures

BEAT_S: Final = 2.0
"""Seconds between two beats."""

_ENCODER: Final = msgspec.msgpack.Encoder()
_TO_WORKER: Final[msgspec.msgpack.Decoder[ToWorker]] = msgspec.msgpack.Decoder(ToWorker)
_TO_SUPERVISOR: Final[msgspec.msgpack.Decoder[ToSupervisor]] = msgspec.msgpack.Decoder(ToSupervisor)


class UnreadableFrame(Exception):
    """A frame that is no message of the contract: garbage, or a wrong type somewhere in it."""


def encode(message: ToWorker | ToSupervisor) -> bytes:
    """A message as one frame."""
    return _ENCODER.encode(message)


def to_worker(frame: bytes | memoryview) -> ToWorker:
    """The supervisor's message in a frame; UnreadableFrame where there is none."""
    try:
        return _TO_WORKER.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFrame(str(error)) from error


def to_supervisor(frame: bytes | memoryview) -> ToSupervisor:
    """A worker's message in a frame; UnreadableFrame where there is none."""
    try:
        return _TO_SUPERVISOR.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFrame(str(error)) from error
