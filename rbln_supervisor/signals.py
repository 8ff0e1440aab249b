"""Signals as input of the loop: the handlers do nothing, a byte on a descriptor is the event."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Final

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


@contextlib.contextmanager
def signal_socket() -> Iterator[socket.socket]:
    """Return a socket from which the numbers of received signals can be read, one byte each."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.settimeout(0)
        writer.settimeout(0)
        handlers = {number: signal.signal(number, lambda *_: None) for number in _HANDLED}
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def received_signals(reader: socket.socket) -> frozenset[signal.Signals]:
    """Return the signals received since the last call."""
    try:
        return frozenset(signal.Signals(number) for number in reader.recv(256))
    except BlockingIOError:
        return frozenset()
