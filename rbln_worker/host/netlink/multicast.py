"""A netlink multicast group of the kernel, read without blocking (netlink(7))."""

import socket
from collections.abc import Callable, Iterable
from errno import ENOBUFS
from typing import Final, Generic, TypeVar

import msgspec

from rbln_worker.host.netlink.codec import NetlinkDecodeError

BUFFER_BYTES: Final = 8 * 1024 * 1024
"""Size of the socket's receive buffer: the kernel charges about 1 KiB for each message."""
_SO_RCVBUFFORCE: Final = 33
"""asm-generic/socket.h; Python has no name for it. It exceeds the limit net.core.rmem_max."""
_FRAME_BYTES: Final = 32768
"""More than any message to a group: a uevent has about 2 KiB, an unrequested link message 4 KiB."""

T = TypeVar("T")


class Received(msgspec.Struct, Generic[T], frozen=True):
    """Items received since the last read."""

    items: tuple[T, ...] = ()
    lost: bool = False
    """True if a message was lost, so that the receiver has to read the state itself.

    The socket's buffer was full, or a message was not understood. After an overflow the kernel
    keeps nothing until all was read (af_netlink.c), so this stays True until then.
    """


class GroupSocket(Generic[T]):
    """A socket that belongs to one multicast group."""

    def __init__(
        self,
        protocol: int,
        group: int,
        read: Callable[[bytes], Iterable[T]],
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        """Subscribe; ``read`` makes items of a datagram, or raises NetlinkDecodeError.

        Raises:
            OSError: The kernel has no such protocol, or permission is missing.
        """
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        self._read = read
        self._overflown = False
        try:
            _enlarge_buffer(self._socket, buffer_bytes)
            self._socket.bind((0, 1 << (group - 1)))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor: readable if there are messages (POLLIN; POLLERR: overflow)."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave the group."""
        self._socket.close()

    def drain(self, most: int) -> Received[T]:
        """Return the items of at most ``most`` messages; none if there are no messages."""
        items: list[T] = []
        lost = self._overflown
        for _ in range(most):
            try:
                frame, _, flags, (port, _) = self._socket.recvmsg(_FRAME_BYTES)
            except BlockingIOError:
                self._overflown = False
                break
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                self._overflown = lost = True
                continue
            if port != 0:
                continue  # from a process instead of the kernel
            if flags & socket.MSG_TRUNC:
                lost = True
            else:
                try:
                    items += self._read(frame)
                except NetlinkDecodeError:
                    lost = True
        return Received(tuple(items), lost)


def _enlarge_buffer(opened: socket.socket, size: int) -> None:
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:  # without CAP_NET_ADMIN: the limit of all users
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
