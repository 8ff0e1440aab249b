"""Whatever bytes come, netlink is read to the end or told to be wrong; what is made can be read."""

from collections.abc import Callable, Iterable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from rbln_worker.host.netlink import codec, link_events, rtnetlink
from rbln_worker.host.netlink.codec import Message, NetlinkDecodeError
from rbln_worker.host.netlink.devlink import Devlink
from rbln_worker.host.netlink.uevent import MAX_FRAME_BYTES, parse_uevent
from tests.sim import netlink_frames as frames
from tests.sim import uevents

REAL: Final = (frames.LINK, frames.ROUTE, frames.NEXTHOP)
VALUES: Final = st.binary(max_size=80)
KINDS: Final = st.integers(0, 0x3FFF)


@composite
def damaged(draw: DrawFn, whole: tuple[bytes, ...]) -> bytes:
    """A real frame with a few bytes that are others, and often another length."""
    frame = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(frame) - 1))
        frame[place] = draw(st.integers(0, 255))
    return bytes(frame[draw(st.sampled_from([0, 0, 0, 1, 16])) : draw(st.integers(0, len(frame)))])


FRAMES: Final = st.one_of(st.binary(max_size=300), damaged(REAL))


def drained(items: Iterable[object]) -> bool:
    """Whether it could be read to its end; that it has one is what the test is about."""
    try:
        for _ in items:
            pass
    except NetlinkDecodeError:
        return False
    return True


@given(FRAMES)
def test_messages_end(frame: bytes) -> None:
    found = []
    try:
        for message in codec.decode_messages(frame):
            found.append(message)  # noqa: PERF402 - those before an error count
    except NetlinkDecodeError:
        pass
    assert sum(16 + len(message.payload) for message in found) <= len(frame)


@given(FRAMES, st.integers(0, 40))
def test_attributes_end(frame: bytes, offset: int) -> None:
    found = []
    try:
        for one in codec.decode_attributes(frame, offset):
            found.append(one)  # noqa: PERF402
    except NetlinkDecodeError:
        pass
    assert sum(4 + len(value) for _, value in found) <= max(0, len(frame) - offset)


@given(FRAMES)
def test_a_link_change_is_whole_or_none(frame: bytes) -> None:
    found = []
    try:
        for change in link_events.decode_changes(frame):
            found.append(change)  # noqa: PERF402
    except NetlinkDecodeError:
        pass
    assert len(found) <= len(frame) // 32
    assert all(change.state is None or change.state.name.isprintable() for change in found)


@pytest.mark.parametrize(
    ("read", "its_own"),
    [
        (rtnetlink.decode_link, frames.LINK),
        (rtnetlink.vf_states, frames.LINK),
        (rtnetlink.decode_route, frames.ROUTE),
        (rtnetlink.decode_nexthop, frames.NEXTHOP),
    ],
)
@given(frame=FRAMES)
def test_rtnetlink_says_malformed_and_nothing_else(
    read: Callable[[bytes], object], its_own: bytes, frame: bytes
) -> None:
    try:
        found = read(frame[16:])
    except NetlinkDecodeError:
        assert frame != its_own  # those of the other kinds may be malformed as one of this
    else:
        assert found is not None


@given(FRAMES)
def test_devlink_knows_or_does_not(frame: bytes) -> None:
    def asked(_: int, device: str) -> tuple[bytes, ...]:
        return (frame, frame[20:])

    devlink = Devlink(asked)
    assert devlink.is_switchdev("0000:03:00.0") in {True, False, None}
    assert "" not in devlink.rdma_enabled()
    assert isinstance(devlink.running_version("0000:03:00.0", "fw.app.name"), str)


@given(st.one_of(st.binary(max_size=300), damaged((frames.UEVENT, frames.UDEV))))
def test_a_uevent_or_none(frame: bytes) -> None:
    event = parse_uevent(frame)
    if event is not None:
        head = frame.split(b"\0")[0]
        told = f"{event.action}@{event.devpath}".encode(errors="surrogateescape")
        assert told == head
        assert "" not in event.properties
    else:
        assert frame != frames.UEVENT


@given(st.binary(min_size=1, max_size=64))
def test_no_uevent_beyond_its_bound(piece: bytes) -> None:
    assert parse_uevent(b"add@/x\0A=" + piece * MAX_FRAME_BYTES) is None


messages: Final[SearchStrategy[list[Message]]] = st.lists(
    st.builds(
        Message,
        kind=st.integers(0, 0xFFFF),
        flags=st.integers(0, 0xFFFF).map(lambda flags: flags | codec.NLM_F_REQUEST),
        sequence=st.integers(0, 0xFFFFFFFF),
        port=st.just(0),
        payload=VALUES,
    )
)


@given(messages)
def test_messages_come_back(told: list[Message]) -> None:
    made = [codec.encode_request(one.kind, one.flags, one.sequence, one.payload) for one in told]
    assert list(codec.decode_messages(b"".join(one + bytes(-len(one) % 4) for one in made))) == told


@given(st.lists(st.tuples(KINDS, VALUES)), st.binary(max_size=20))
def test_attributes_come_back(told: list[tuple[int, bytes]], header: bytes) -> None:
    made = header + b"".join(codec.encode_attribute(kind, value) for kind, value in told)
    assert list(codec.decode_attributes(made, len(header))) == told


@given(KINDS, st.lists(st.tuples(KINDS, VALUES), max_size=20))
def test_nested_attributes_come_back(kind: int, told: list[tuple[int, bytes]]) -> None:
    made = frames.encode_nested(kind, *(codec.encode_attribute(*one) for one in told))
    ((outer, inner),) = codec.decode_attributes(made)
    assert (outer, list(codec.decode_attributes(inner))) == (kind, told)


@given(KINDS, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_text_comes_back(kind: int, told: str) -> None:
    ((_, value),) = codec.decode_attributes(codec.encode_text(kind, told))
    assert codec.decode_string(value) == told


WORDS: Final = st.text(
    st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1
)


@given(
    st.sampled_from(["add", "remove", "bind"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map("/{}".format),
    st.dictionaries(
        WORDS.filter(lambda word: word not in {"action", "devpath"}), WORDS, max_size=9
    ),
)
def test_a_uevent_comes_back(action: str, devpath: str, properties: dict[str, str]) -> None:
    event = parse_uevent(uevents.frame(action, devpath, "pci", **properties))
    assert event is not None
    assert (event.action, event.devpath) == (action, devpath)
    assert properties.items() <= event.properties.items()


def test_real_frames_can_be_read_to_their_end() -> None:
    for frame in REAL:
        (message,) = codec.decode_messages(frame)
        header = {16: 16, 24: 12, 104: 8}[message.kind]
        assert drained(codec.decode_attributes(message.payload, header))
        assert not drained(codec.decode_attributes(message.payload[:-1], header - 1))
