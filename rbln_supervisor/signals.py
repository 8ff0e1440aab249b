"""Signals as input of the loop: the handlers do nothing, a byte on a descriptor is the event."""

import signal
import socket
from typing import Final

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def signal_socket() -> socket.socket:
    """Return a socket from which the numbers of signals are read, one byte each, from now on."""
    reader, writer = socket.socketpair()
    reader.settimeout(0)
    writer.settimeout(0)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    for number in _HANDLED:
        signal.signal(number, lambda *_: None)
    return reader


def received_signals(reader: socket.socket) -> frozenset[signal.Signals]:
    """Return the signals received since the last call."""
    try:
        return frozenset(signal.Signals(number) for number in reader.recv(256))
    except BlockingIOError:
        return frozenset()
