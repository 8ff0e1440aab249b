"""Netlink messages as bytes, and requests to the kernel (netlink(7), linux/netlink.h).

Numbers are in the machine's byte order. Lengths are checked: one that leads outside of the received
bytes raises NetlinkDecodeError.
"""

import contextlib
import socket
from collections.abc import Iterator
from errno import EAGAIN, EBADMSG, EMSGSIZE
from itertools import count
from os import strerror
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

from rbln_worker.contract.errors import RblnError

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300

_NLMSG_NOOP: Final = 1
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3

_NLA_TYPE_MASK: Final = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""

_HEADER: Final = Struct("=IHHII")
_ATTRIBUTE: Final = Struct("=HH")
_ERRNO: Final = Struct("=i")
_MAX_ERRNO: Final = 4095
"""MAX_ERRNO (linux/err.h)."""

RECEIVE_BYTES: Final = 65536
"""More than the kernel puts into one datagram of a dump: 32 KiB (af_netlink.c)."""
TIMEOUT_S: Final = 5.0
"""Time-out of an answer. The dump itself waits for locks in the kernel, inside the call that sends
the request: only the end of the process ends that."""
MAX_INTERRUPTED: Final = 3
"""Maximum number of retries of a dump that was interrupted by a change."""

_sequence: Final = count(1)
"""An answer has its request's number, so that a late one is not mistaken for another's."""


class NetlinkDecodeError(RblnError, ValueError):
    """Bytes that are not valid netlink; the text has problem and offset."""


class Message(NamedTuple):
    """One message of a datagram."""

    kind: int
    """nlmsg_type: of the protocol, or one of netlink's own (NLMSG_DONE, …)."""
    flags: int
    sequence: int
    port: int
    payload: bytes


def encode_request(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Encode a request to the kernel: ``payload`` is the protocol's header and attributes."""
    length = _HEADER.size + len(payload)
    return _HEADER.pack(length, kind, flags | NLM_F_REQUEST, sequence, 0) + payload


def encode_attribute(kind: int, value: bytes) -> bytes:
    """Encode an attribute with its padding."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def encode_text(kind: int, value: str) -> bytes:
    """Encode a string attribute, with the NUL at its end that the kernel requires."""
    return encode_attribute(kind, value.encode(errors="surrogateescape") + b"\0")


def decode_messages(datagram: bytes) -> Iterator[Message]:
    """Yield the messages of a datagram; raise NetlinkDecodeError after the last complete one."""
    offset, end = 0, len(datagram)
    while offset < end:
        if offset + _HEADER.size > end:
            raise NetlinkDecodeError(
                f"a message's header at {offset}: {end - offset} bytes are left"
            )
        length, kind, flags, sequence, port = _HEADER.unpack_from(datagram, offset)
        if not _HEADER.size <= length <= end - offset:
            raise NetlinkDecodeError(
                f"a message of {length} bytes at {offset}: {end - offset} are left"
            )
        payload = datagram[offset + _HEADER.size : offset + length]
        yield Message(kind, flags, sequence, port, payload)
        offset += (length + 3) & ~3


def decode_attributes(payload: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield kinds and values of attributes from ``offset``; raise NetlinkDecodeError at a bad one.

    A remainder shorter than an attribute's header is ignored, as in the kernel.
    """
    end = len(payload)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if not 4 <= length <= end - offset:
            raise NetlinkDecodeError(
                f"an attribute of {length} bytes at {offset}: {end - offset} are left"
            )
        yield kind & _NLA_TYPE_MASK, payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def nested_values(attributes: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the values of a kind of nested attributes, up to the first malformed one."""
    with contextlib.suppress(NetlinkDecodeError):
        for kind, value in decode_attributes(attributes):
            if kind == wanted:
                yield value


def decode_string(value: bytes) -> str:
    """Decode a string attribute; invalid bytes become surrogates."""
    return value.split(b"\0", 1)[0].decode(errors="surrogateescape")


def open_socket(protocol: int, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """Open a socket for requests; raise OSError if the kernel has no such protocol."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    opened.settimeout(timeout_s)
    return opened


class NetlinkSocket(Protocol):
    """The part of a socket's interface that requests need."""

    def sendto(self, data: bytes, address: tuple[int, int], /) -> object:
        """Send a message; see socket.socket."""

    def recvmsg(self, size: int, /) -> tuple[bytes, Any, int, Any]:
        """Receive a message; see socket.socket."""


def query_kernel(
    asked: NetlinkSocket, kind: int, payload: bytes, *, flags: int
) -> tuple[Message, ...]:
    """Return the kernel's answers: all of a dump (``NLM_F_DUMP``), or those before ``NLM_F_ACK``.

    Raises:
        OSError: The kernel's error; EBADMSG if the answer can't be decoded, EAGAIN if each of four
            dumps was interrupted by a change; TimeoutError if there was no answer.
    """
    for _ in range(1 + MAX_INTERRUPTED):
        sequence = next(_sequence) & 0xFFFFFFFF
        asked.sendto(encode_request(kind, flags, sequence, payload), (0, 0))
        answers, interrupted = _read_answers(asked, sequence)
        if not interrupted:
            return answers
    raise OSError(EAGAIN, "something changed whenever it was listed")


def _read_answers(asked: NetlinkSocket, sequence: int) -> tuple[tuple[Message, ...], bool]:
    """Return the answers to a request, and True if the dump was interrupted by a change."""
    answers: list[Message] = []
    interrupted = False
    while True:
        for message in _receive_messages(asked):
            if message.sequence != sequence:
                continue
            interrupted = interrupted or bool(message.flags & NLM_F_DUMP_INTR)
            if message.kind in {_NLMSG_ERROR, _NLMSG_DONE}:
                _raise_for(message)
                return tuple(answers), interrupted
            if message.kind != _NLMSG_NOOP:
                answers.append(message)


def _receive_messages(asked: NetlinkSocket) -> tuple[Message, ...]:
    datagram, _, flags, (port, _) = asked.recvmsg(RECEIVE_BYTES)
    if port != 0:
        return ()  # another process may write to this socket; the kernel is port 0
    if flags & socket.MSG_TRUNC:
        raise OSError(EMSGSIZE, f"an answer of more than {RECEIVE_BYTES} bytes")
    try:
        return tuple(decode_messages(datagram))
    except NetlinkDecodeError as error:
        raise OSError(EBADMSG, f"an answer can't be read: {error}") from error


def _raise_for(message: Message) -> None:
    """Raise OSError for an error; an acknowledgement has error 0, a dump's end may have none."""
    if len(message.payload) >= _ERRNO.size:
        (negative,) = _ERRNO.unpack_from(message.payload)
        if negative:
            if not -_MAX_ERRNO <= negative < 0:
                raise OSError(EBADMSG, f"an error that is none: {negative}")
            raise OSError(-negative, strerror(-negative))
    elif message.kind == _NLMSG_ERROR:
        raise OSError(EBADMSG, "an error that is cut off")
