"""Netlink's messages as bytes, and one question to the kernel (netlink(7), linux/netlink.h).

Numbers are in the machine's byte order. Nothing here believes a length: one that leads outside of
what was received ends the reading with Malformed.
"""

import socket
from collections.abc import Iterator
from errno import EAGAIN, EBADMSG, EMSGSIZE
from itertools import count
from os import strerror
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300

_NLMSG_NOOP: Final = 1
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3

NLA_F_NESTED: Final = 0x8000
_NLA_TYPE_MASK: Final = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""

_HEADER: Final = Struct("=IHHII")
_ATTRIBUTE: Final = Struct("=HH")
_ERRNO: Final = Struct("=i")
_ERRNO_MOST: Final = 4095
"""MAX_ERRNO (linux/err.h)."""

RECEIVE_BYTES: Final = 65536
"""More than the kernel ever puts into one datagram of a dump: 32 KiB (af_netlink.c)."""
TIMEOUT_S: Final = 5.0
"""How long an answer may be on its way. The dump itself waits for locks in the kernel, inside of
the call that sends the question: nothing ends that but the end of the process."""
INTERRUPTED_MOST: Final = 3
"""How often a dump is asked for again because something changed while it was made."""

_sequence: Final = count(1)
"""An answer carries its question's number, so that a late one is not taken for another's."""


class Malformed(ValueError):
    """Bytes that are no netlink: what is wrong, and where."""


class Message(NamedTuple):
    """One message of a datagram."""

    kind: int
    """nlmsg_type: of the protocol, or one of netlink's own (NLMSG_DONE, …)."""
    flags: int
    sequence: int
    port: int
    payload: bytes


def request(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """A message to the kernel: ``payload`` is the protocol's header and attributes."""
    length = _HEADER.size + len(payload)
    return _HEADER.pack(length, kind, flags | NLM_F_REQUEST, sequence, 0) + payload


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute with the padding behind it; ValueError for more than 65,531 bytes."""
    length = _ATTRIBUTE.size + len(value)
    if length > 0xFFFF:
        raise ValueError(f"an attribute of {len(value)} bytes: at most 65531 fit")
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string, which the kernel wants to end with a NUL."""
    return attribute(kind, value.encode(errors="surrogateescape") + b"\0")


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of a datagram; Malformed after the last whole one."""
    offset, end = 0, len(datagram)
    while offset < end:
        if offset + _HEADER.size > end:
            raise Malformed(f"a message's header at {offset}: {end - offset} bytes are left")
        length, kind, flags, sequence, port = _HEADER.unpack_from(datagram, offset)
        if not _HEADER.size <= length <= end - offset:
            raise Malformed(f"a message of {length} bytes at {offset}: {end - offset} are left")
        payload = datagram[offset + _HEADER.size : offset + length]
        yield Message(kind, flags, sequence, port, payload)
        offset += (length + 3) & ~3


def attributes(payload: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Kinds and values of the attributes from ``offset`` on; Malformed after the last whole one.

    Fewer bytes at the end than an attribute's header has are passed over, as the kernel does.
    """
    end = len(payload)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if not 4 <= length <= end - offset:
            raise Malformed(f"an attribute of {length} bytes at {offset}: {end - offset} are left")
        yield kind & _NLA_TYPE_MASK, payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def string(value: bytes) -> str:
    """A string attribute's text; bytes that are none survive as surrogates."""
    return value.split(b"\0", 1)[0].decode(errors="surrogateescape")


def opened(protocol: int, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """A socket for questions; OSError where the kernel has no such protocol."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    opened.settimeout(timeout_s)
    return opened


class Channel(Protocol):
    """As much of a socket as a question needs."""

    def sendto(self, data: bytes, address: tuple[int, int], /) -> object:
        """See socket.socket."""

    def recvmsg(self, size: int, /) -> tuple[bytes, Any, int, Any]:
        """See socket.socket."""


def ask(asked: Channel, kind: int, payload: bytes, *, flags: int) -> tuple[Message, ...]:
    """The kernel's answers, all of a dump (``NLM_F_DUMP``), or what comes before ``NLM_F_ACK``.

    Raises:
        OSError: What the kernel answered instead; EBADMSG where it can't be read, EAGAIN where
            something changed during each of four dumps; TimeoutError where nothing came.
    """
    for _ in range(1 + INTERRUPTED_MOST):
        sequence = next(_sequence) & 0xFFFFFFFF
        asked.sendto(request(kind, flags, sequence, payload), (0, 0))
        answers, interrupted = _answers(asked, sequence)
        if not interrupted:
            return answers
    raise OSError(EAGAIN, "something changed whenever it was listed")


def _answers(asked: Channel, sequence: int) -> tuple[tuple[Message, ...], bool]:
    """Those to one question, and whether they are of different times."""
    answers: list[Message] = []
    interrupted = False
    while True:
        for message in _received(asked):
            if message.sequence != sequence:
                continue
            interrupted = interrupted or bool(message.flags & NLM_F_DUMP_INTR)
            if message.kind in {_NLMSG_ERROR, _NLMSG_DONE}:
                _raise_for(message)
                return tuple(answers), interrupted
            if message.kind != _NLMSG_NOOP:
                answers.append(message)


def _received(asked: Channel) -> tuple[Message, ...]:
    datagram, _, flags, (port, _) = asked.recvmsg(RECEIVE_BYTES)
    if port != 0:
        return ()  # another process may write to this socket; the kernel is port 0
    if flags & socket.MSG_TRUNC:
        raise OSError(EMSGSIZE, f"an answer of more than {RECEIVE_BYTES} bytes")
    try:
        return tuple(messages(datagram))
    except Malformed as error:
        raise OSError(EBADMSG, f"an answer can't be read: {error}") from error


def _raise_for(message: Message) -> None:
    """OSError for an error; an acknowledgement is the error 0, and a dump's end may have none."""
    if len(message.payload) >= _ERRNO.size:
        (negative,) = _ERRNO.unpack_from(message.payload)
        if negative:
            if not -_ERRNO_MOST <= negative < 0:
                raise OSError(EBADMSG, f"an error that is none: {negative}")
            raise OSError(-negative, strerror(-negative))
    elif message.kind == _NLMSG_ERROR:
        raise OSError(EBADMSG, "an error that is cut off")
