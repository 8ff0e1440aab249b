"""Netlink's messages, and questions to a kernel that answers as told."""

import socket
from collections.abc import Callable, Iterator
from errno import EAGAIN, EBADMSG, EMSGSIZE, ENODEV, EPERM
from struct import pack, unpack_from
from typing import Final

import pytest

from rbln_worker.host.netlink import codec, rtnetlink
from rbln_worker.host.netlink.codec import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    Message,
    NetlinkDecodeError,
)
from tests.sim import netlink_frames as frames

ERROR: Final = 2
DONE: Final = 3
NOOP: Final = 1
ANSWER: Final = 16
MULTI: Final = 2


def message(kind: int, payload: bytes = b"", *, flags: int = 0, sequence: int = 0) -> bytes:
    header = pack("=IHHII", 16 + len(payload), kind, flags, sequence, 4711)
    return header + payload + bytes(-len(payload) % 4)


def test_a_request() -> None:
    body = codec.encode_text(1, "eno1") + frames.encode_nested(2, codec.encode_attribute(3, b"\7"))
    asked = codec.encode_request(18, NLM_F_DUMP, 5, body)
    assert asked == (
        pack("=IHHII", 16 + 12 + 12, 18, 0x301, 5, 0)
        + (pack("=HH", 9, 1) + b"eno1\0\0\0\0")
        + (pack("=HH", 12, 2 | 0x8000) + pack("=HH", 5, 3) + b"\7\0\0\0")
    )


def test_several_messages_in_a_datagram() -> None:
    datagram = message(16, b"abc") + message(DONE, sequence=7)
    assert list(codec.decode_messages(datagram)) == [
        Message(16, 0, 0, 4711, b"abc"),
        Message(DONE, 0, 7, 4711, b""),
    ]


@pytest.mark.parametrize("length", [0, 1, 15, 21, 0xFFFFFFFF])
def test_a_message_with_a_wrong_length(length: int) -> None:
    wrong = pack("=IHHII", length, 16, 0, 0, 0) + b"abcd"
    read = codec.decode_messages(message(16, b"abcd") + wrong)
    assert next(read).payload == b"abcd"
    with pytest.raises(NetlinkDecodeError, match=f"a message of {length} bytes at 20: 20 are left"):
        next(read)


def test_a_header_that_is_cut() -> None:
    with pytest.raises(NetlinkDecodeError, match="header at 0: 15 bytes"):
        list(codec.decode_messages(message(16)[:15]))


@pytest.mark.parametrize("length", [0, 1, 3, 9, 0xFFFF])
def test_an_attribute_with_a_wrong_length(length: int) -> None:
    read = codec.decode_attributes(
        codec.encode_attribute(1, b"ab") + pack("=HH", length, 2) + b"abcd"
    )
    assert next(read) == (1, b"ab")
    with pytest.raises(
        NetlinkDecodeError, match=f"an attribute of {length} bytes at 8: 8 are left"
    ):
        next(read)


def test_less_than_an_attribute_at_the_end_is_nothing() -> None:
    """As with the kernel: a driver that pads oddly must not cost the list of all links."""
    assert list(codec.decode_attributes(codec.encode_attribute(1, b"ab") + b"\1\2\3")) == [
        (1, b"ab")
    ]


class Scripted:
    """A kernel that answers each question by what a function makes of its number."""

    def __init__(self, *answers: Callable[[int], list[bytes]], port: int = 0) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.waiting: list[bytes] = []
        self.port = port
        self.flags = 0

    def sendto(self, data: bytes, address: tuple[int, int], /) -> int:
        assert address == (0, 0)
        self.asked.append(data)
        (sequence,) = unpack_from("=I", data, 8)
        self.waiting += self.answers.pop(0)(sequence)
        return len(data)

    def recvmsg(self, size: int, /) -> tuple[bytes, list[object], int, tuple[int, int]]:
        if not self.waiting:
            raise TimeoutError("timed out")
        return self.waiting.pop(0)[:size], [], self.flags, (self.port, 0)


def asked(kernel: Scripted, flags: int = NLM_F_DUMP) -> list[bytes]:
    return [one.payload for one in codec.query_kernel(kernel, 18, b"\0" * 16, flags=flags)]


def test_a_dump_of_several_datagrams() -> None:
    kernel = Scripted(
        lambda n: [
            message(ANSWER, b"1", sequence=n) + message(ANSWER, b"2", sequence=n),
            message(NOOP, sequence=n) + message(ANSWER, b"3", sequence=n),
            message(DONE, pack("=i", 0), sequence=n),
        ]
    )
    assert asked(kernel) == [b"1", b"2", b"3"]


def test_an_answer_and_its_acknowledgement() -> None:
    kernel = Scripted(
        lambda n: [
            message(ANSWER, b"one", sequence=n),
            message(ERROR, pack("=i", 0) + bytes(16), sequence=n),
        ]
    )
    assert asked(kernel, NLM_F_ACK) == [b"one"]


@pytest.mark.parametrize("kind", [ERROR, DONE])
def test_the_kernels_refusal(kind: int) -> None:
    kernel = Scripted(
        lambda n: [
            message(ANSWER, b"one", sequence=n),
            message(kind, pack("=i", -ENODEV) + bytes(16), sequence=n),
        ]
    )
    with pytest.raises(OSError, match="No such device") as refused:
        asked(kernel)
    assert refused.value.errno == ENODEV


def test_a_late_answer_to_another_question() -> None:
    kernel = Scripted(
        lambda n: [
            message(ERROR, pack("=i", -EPERM), sequence=n - 1),
            message(ANSWER, b"late", sequence=n - 1) + message(DONE, sequence=n - 1),
            message(ANSWER, b"new", sequence=n) + message(DONE, sequence=n),
        ]
    )
    assert asked(kernel) == [b"new"]


def interrupted(sequence: int) -> list[bytes]:
    return [
        message(ANSWER, b"old", sequence=sequence, flags=MULTI),
        message(ANSWER, b"more", sequence=sequence, flags=MULTI | NLM_F_DUMP_INTR),
        message(DONE, pack("=i", 0), sequence=sequence, flags=MULTI),
    ]


def whole(sequence: int) -> list[bytes]:
    return [message(ANSWER, b"new", sequence=sequence) + message(DONE, sequence=sequence)]


@pytest.mark.parametrize("times", [1, 3])
def test_an_interrupted_dump_is_asked_for_again(times: int) -> None:
    kernel = Scripted(*[interrupted] * times, whole)
    assert asked(kernel) == [b"new"]
    assert len(kernel.asked) == times + 1


def test_but_not_for_ever() -> None:
    kernel = Scripted(*[interrupted] * 9)
    with pytest.raises(OSError, match="something changed") as told:
        asked(kernel)
    assert (told.value.errno, len(kernel.asked)) == (EAGAIN, 4)


def test_no_answer() -> None:
    with pytest.raises(TimeoutError):
        asked(Scripted(lambda _: []))


def test_an_answer_of_a_process_is_none() -> None:
    with pytest.raises(TimeoutError):
        asked(Scripted(whole, port=4711))


def test_an_answer_that_is_cut_off() -> None:
    kernel = Scripted(whole)
    kernel.flags = socket.MSG_TRUNC
    with pytest.raises(OSError, match="more than 65536 bytes") as told:
        asked(kernel)
    assert told.value.errno == EMSGSIZE


@pytest.mark.parametrize(
    "wrong", [b"x", message(ANSWER)[:12], message(ANSWER, b"abcd")[:-1]], ids=repr
)
def test_an_answer_that_can_not_be_read(wrong: bytes) -> None:
    with pytest.raises(OSError, match="can't be read") as told:
        asked(Scripted(lambda n: [message(ANSWER, sequence=n), wrong]))
    assert told.value.errno == EBADMSG


def test_an_error_without_a_number() -> None:
    with pytest.raises(OSError, match="cut off"):
        asked(Scripted(lambda n: [message(ERROR, b"\1\2", sequence=n)]))


@pytest.fixture
def kernel() -> Iterator[socket.socket]:
    with codec.open_socket(rtnetlink.PROTOCOL) as opened:
        yield opened


def test_the_real_kernel_refuses(kernel: socket.socket) -> None:
    with pytest.raises(OSError, match="No such device"):
        codec.query_kernel(kernel, 18, pack("=BxHiII", 0, 0, 0x7FFFFFFF, 0, 0), flags=NLM_F_ACK)


def test_the_real_kernel_answers_again_and_again(kernel: socket.socket) -> None:
    question = pack("=BxHiII", 0, 0, 1, 0, 0)
    for _ in range(3):
        (answer,) = codec.query_kernel(kernel, 18, question, flags=NLM_F_ACK)
        assert rtnetlink.decode_link(answer.payload).index == 1


def test_a_silent_channel_is_given_up() -> None:
    """Nothing follows an answer that nobody asked to be acknowledged."""
    with (
        codec.open_socket(rtnetlink.PROTOCOL, timeout_s=0.05) as opened,
        pytest.raises(TimeoutError),
    ):
        codec.query_kernel(opened, 18, pack("=BxHiII", 0, 0, 1, 0, 0), flags=0)


def payload(frame: bytes) -> bytes:
    (one,) = codec.decode_messages(frame)
    return one.payload


def test_what_linux_says_of_a_link() -> None:
    link = rtnetlink.decode_link(payload(frames.LINK))
    assert (link.name, link.type, link.operstate, link.admin_up) == ("eno1", 1, 2, True)
    assert link.lower is None  # its number is of another namespace
    assert link.master is not None


def link_message(*attributes: bytes) -> bytes:
    return bytes(16) + b"".join(attributes)


def test_what_tells_a_link_apart() -> None:
    info = frames.encode_nested(
        18, codec.encode_text(1, "bond"), frames.encode_nested(2, codec.encode_text(1, "x"))
    )
    link = rtnetlink.decode_link(
        link_message(
            codec.encode_text(3, "ens1f0np0"),
            info,
            codec.encode_attribute(36, bytes.fromhex("0a1b2c")),
            codec.encode_text(38, "p0"),
            frames.encode_nested(
                52, codec.encode_text(53, "enp59s0f0np0"), codec.encode_text(53, "uplink")
            ),
        )
    )
    assert (link.name, link.kind, link.port_name) == ("ens1f0np0", "bond", "p0")
    assert link.switch_id == "0a1b2c"  # as sysfs writes it
    assert link.altnames == ("enp59s0f0np0", "uplink")
    assert rtnetlink.decode_link(payload(frames.LINK)).kind == "veth"


def test_what_is_broken_inside_of_a_link_is_not_known() -> None:
    link = rtnetlink.decode_link(
        link_message(codec.encode_text(3, "eno1"), codec.encode_attribute(18, b"\xff" * 7))
    )
    assert (link.name, link.kind) == ("eno1", "")


def vf_info(number: int, state: int, *rest: bytes) -> bytes:
    """Facts of a VF: ifla_vf_link_state behind another attribute, as rtnl_fill_vf puts them."""
    mac = codec.encode_attribute(1, pack("=I", number) + bytes(32))
    return frames.encode_nested(
        1, mac, codec.encode_attribute(5, pack("=II", number, state)), *rest
    )


def test_link_states_of_virtual_functions() -> None:
    listed = (vf_info(0, 0), vf_info(1, 1, frames.encode_nested(12)), vf_info(7, 2), vf_info(8, 9))
    said = link_message(
        codec.encode_attribute(21, pack("=I", 4)), frames.encode_nested(22, *listed)
    )
    assert rtnetlink.vf_states(said) == {0: "auto", 1: "enable", 7: "disable"}
    assert rtnetlink.vf_states(link_message(codec.encode_text(3, "eno1"))) == {}
    cut = link_message(
        frames.encode_nested(22, frames.encode_nested(1, codec.encode_attribute(5, b"\1\0\0")))
    )
    assert rtnetlink.vf_states(cut) == {}


def test_who_has_no_virtual_functions_says_nothing_of_them() -> None:
    assert rtnetlink.vf_link_states([1]) == {1: {}}  # lo
    assert rtnetlink.vf_link_states([2**31 - 1]) == {}
    assert rtnetlink.vf_link_states([]) == {}


def test_what_linux_says_of_nexthop_objects() -> None:
    assert rtnetlink.decode_route(payload(frames.ROUTE)) == (frozenset({4, 5}), 9)
    assert rtnetlink.decode_nexthop(payload(frames.NEXTHOP)) == (9, None, (7, 8))
