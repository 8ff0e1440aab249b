"""What the kernel tells a netlink group, heard without ever waiting for it (netlink(7))."""

import socket
from collections.abc import Callable, Iterable
from errno import ENOBUFS
from typing import Final, Generic, TypeVar

import msgspec

from rbln_worker.host.netlink import Malformed

BUFFER_BYTES: Final = 8 * 1024 * 1024
"""What the kernel may keep for us: it charges about 1 KiB for each message."""
_SO_RCVBUFFORCE: Final = 33
"""asm-generic/socket.h; Python has no name for it. Beyond the limit of net.core.rmem_max."""
_FRAME_BYTES: Final = 32768
"""More than any message to a group: a uevent has some 2 KiB, a link that nobody asked for 4."""

T = TypeVar("T")


class Heard(msgspec.Struct, Generic[T], frozen=True):
    """What was heard since one listened last."""

    items: tuple[T, ...] = ()
    lost: bool = False
    """Something was said that is not among the items, and whoever wants to know looks themselves.

    The socket's buffer was full, or a message was not understood. From a full buffer on nothing is
    kept until all of it was read (af_netlink.c), so this is true again until then.
    """
    foreign: int = 0
    """Messages that were dropped because they came from a process and not from the kernel."""


class Group(Generic[T]):
    """A socket that belongs to one multicast group."""

    def __init__(
        self,
        protocol: int,
        group: int,
        read: Callable[[bytes], Iterable[T]],
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        """``read`` makes items of a datagram; Malformed for what it can't understand.

        Raises:
            OSError: The kernel has no such protocol, or it is not for us.
        """
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        self._read = read
        self._overflown = False
        try:
            _enlarge(self._socket, buffer_bytes)
            self._socket.bind((0, 1 << (group - 1)))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable (POLLIN, or POLLERR for an overflow) when there is something to drain."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave the group."""
        self._socket.close()

    def drain(self, most: int) -> Heard[T]:
        """What at most ``most`` messages say; none where none are there."""
        items: list[T] = []
        lost, foreign = self._overflown, 0
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
                foreign += 1
            elif flags & socket.MSG_TRUNC:
                lost = True
            else:
                try:
                    items += self._read(frame)
                except Malformed:
                    lost = True
        return Heard(tuple(items), lost, foreign)


def _enlarge(opened: socket.socket, size: int) -> None:
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:  # without CAP_NET_ADMIN: as much as everybody may have
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
