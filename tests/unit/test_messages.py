"""Frames between the two: what was said is heard, and anything else is told apart."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.health import Judged, Verdict
from rbln_worker.contract.messages import (
    MAX_FRAME_BYTES,
    FrameError,
    Heartbeat,
    Hello,
    Phase,
    Report,
    Snapshot,
    StateReport,
    StateRequest,
    ToSupervisor,
    ToWorker,
    encode_message,
    to_supervisor,
    to_worker,
)
from rbln_worker.contract.pool import PoolName, PoolSpec

FUNCTION = PciFunction(
    Bdf("0000:20:00.0"), "1eff", "1120", 0x12, "rebellions", 1, "7", has_vfs=True
)
DEVICE = Device(DeviceId("0000:20:00.0"), FUNCTION, gone="unplugged")
POOL = PoolSpec("a.b", "c", "accelerator", additional_info={"*": {"k": "\u00e9\0"}})

TO_WORKER: tuple[ToWorker, ...] = (
    Snapshot("s", 3, POOL, (DEVICE,)),
    Snapshot("", 0, PoolSpec("a", "b", "accelerator"), ()),
    StateRequest(),
)
TO_SUPERVISOR: tuple[ToSupervisor, ...] = (
    Hello(PoolName("a.b/c"), 1, "i", "v", "s", 7, "o"),
    StateReport(POOL, (DEVICE,)),
    StateReport(),
    Report(Phase.WAITING, "r", "kubelet-sock", "e", (Judged(DEVICE.id, Verdict(healthy=True)),)),
    Heartbeat("s", 3),
)


@pytest.mark.parametrize("message", TO_WORKER, ids=lambda m: type(m).__name__)
def test_what_a_worker_is_told_is_what_was_said(message: ToWorker) -> None:
    assert to_worker(encode_message(message)) == message
    with pytest.raises(FrameError):
        to_supervisor(encode_message(message))


@pytest.mark.parametrize("message", TO_SUPERVISOR, ids=lambda m: type(m).__name__)
def test_what_a_supervisor_is_told_is_what_was_said(message: ToSupervisor) -> None:
    assert to_supervisor(encode_message(message)) == message
    with pytest.raises(FrameError):
        to_worker(encode_message(message))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_unreadable(frame: bytes) -> None:
    for read in (to_worker, to_supervisor):
        with contextlib.suppress(FrameError):
            read(frame)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TAGS = st.sampled_from(["hello", "report", "beat", "wanted", "snapshot", "delta", "stop"])


@given(
    TAGS,
    st.dictionaries(
        st.sampled_from(
            ["pool", "pid", "phase", "generation", "session", "devices", "happened", "new"]
        ),
        VALUES,
    ),
)
def test_a_message_of_wrong_types_is_unreadable_or_right(tag: str, fields: object) -> None:
    assert isinstance(fields, dict)
    frame = msgspec.msgpack.encode({"type": tag, **fields})
    for read in (to_worker, to_supervisor):
        try:
            message = read(frame)
        except FrameError:
            continue
        assert encode_message(message)


def test_a_frame_that_is_nested_without_end_is_unreadable() -> None:
    for frame in (b"\x91" * 100_000, b"\x81\xa4type" * 50_000):
        with pytest.raises(FrameError):
            to_supervisor(frame)


@pytest.mark.parametrize("message", [*TO_WORKER, *TO_SUPERVISOR], ids=lambda m: type(m).__name__)
def test_a_newer_peers_fields_are_ignored(message: ToWorker | ToSupervisor) -> None:
    read = to_worker if message in TO_WORKER else to_supervisor
    fields = msgspec.msgpack.decode(encode_message(message))
    assert read(msgspec.msgpack.encode({**fields, "since_2_0": [1, {"x": None}]})) == message


def test_twenty_thousand_devices_fit_into_a_frame() -> None:
    devices = tuple(
        Device(DeviceId(f"{n:08x}:20:00.0"), FUNCTION, gone="unplugged") for n in range(20_000)
    )
    assert len(encode_message(Snapshot("s" * 16, 1, POOL, devices))) < MAX_FRAME_BYTES
