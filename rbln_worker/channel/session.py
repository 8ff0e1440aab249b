"""The session protocol with the supervisor: hello, heartbeats, reports."""

import asyncio
from collections.abc import Callable

from rbln_worker.channel.dealer import SupervisorSocket
from rbln_worker.contract import messages
from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.core.step.events import LinkConnected


class SupervisorSession:
    """A session with the supervisor: hello on every connection, heartbeats, changed reports."""

    def __init__(
        self, link: SupervisorSocket, post: Callable[[messages.ToWorker | LinkConnected], None]
    ) -> None:
        """Use ``link``; ``post`` takes messages and the start of a connection."""
        self._link = link
        self._post = post
        self._hello_sent = False
        self._sent: dict[type, messages.ToSupervisor] = {}
        """The last report and the last counters that were sent."""

    def start_receiving(self) -> None:
        """Start to receive."""
        loop = asyncio.get_running_loop()
        for fd in self._link.file_descriptors():
            loop.add_reader(fd, self._receive_messages)
        self._receive_messages()

    def send_message(self, message: messages.ToSupervisor) -> None:
        """Send a message; a state only if it has changed, and nothing before a hello."""
        if isinstance(message, messages.Hello):
            # The handshake is reported before the connection takes frames. Then the next attempt
            # follows when the socket's descriptor becomes readable, and with every heartbeat.
            self._hello_sent = self._send_frame(message)
            self._sent = {}
        elif not self._hello_sent:
            if isinstance(message, messages.Heartbeat):
                self._post(LinkConnected())
        elif message != self._sent.get(type(message)):
            is_sent = self._send_frame(message)
            if is_sent and isinstance(message, messages.Report | WorkerCounters):
                self._sent[type(message)] = message

    def _send_frame(self, message: messages.ToSupervisor) -> bool:
        """Send a message without waiting; return False if the connection does not take it."""
        sent = self._link.send(message)
        if sent:  # receive() after send(): libzmq's descriptor signals on edges
            asyncio.get_running_loop().call_soon(self._receive_messages)
        return sent

    def _receive_messages(self) -> None:
        if self._link.has_connected():
            self._hello_sent = False
        for message in self._link.receive():
            self._post(message)
        if not self._hello_sent:
            self._post(LinkConnected())
