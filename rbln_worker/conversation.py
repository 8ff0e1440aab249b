"""What a worker and whichever supervisor there is say to each other, kept up to date."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from rbln_worker.contract.messages import BEAT_S, Beat, Hello, Report, ToWorker, Wanted
from rbln_worker.link import Link


class Held(NamedTuple):
    """Which state a worker holds: a supervisor's session and the generation in it."""

    session: str = ""
    generation: int = 0


class Conversation:
    """Says hello on every connection, beats, and repeats the report whenever it changed."""

    def __init__(
        self,
        link: Link,
        *,
        hello: Callable[[], Hello],
        held: Callable[[], Held],
        report: Callable[[], Report],
        hear: Callable[[ToWorker], None],
    ) -> None:
        self._link = link
        self._hello = hello
        self._held = held
        self._report = report
        self._hear = hear
        self._greeted = False
        self._told: Report | None = None

    def begin(self) -> None:
        """Listen from now on."""
        loop = asyncio.get_running_loop()
        for fd in self._link.filenos():
            loop.add_reader(fd, self._listen)
        self._listen()

    def tell(self) -> None:
        """Send the report, if it differs from what was told."""
        report = self._report()
        if self._greeted and report != self._told and self._say(report):
            self._told = report

    def want_snapshot(self) -> None:
        """Ask for the whole state: there is a gap behind the held one."""
        self._say(Wanted(self._held().generation))

    async def beat(self) -> None:
        """Say at intervals that this worker lives, and what it holds; never ends."""
        while True:
            if self._greeted:
                session, generation = self._held()
                self._say(Beat(session, generation, self._link.dropped_frames))
            else:
                self._greet()
            await asyncio.sleep(BEAT_S)

    def _listen(self) -> None:
        if self._link.connected():
            self._greeted = False
        for message in self._link.receive():
            self._hear(message)
        if not self._greeted:
            self._greet()

    def _greet(self) -> None:
        # The handshake is reported before the connection takes frames: then this is tried again
        # when the socket's descriptor says that something changed, and with every beat.
        self._greeted = self._say(self._hello())
        if self._greeted:
            self._told = None
            self.tell()

    def _say(self, message: Beat | Report | Wanted | Hello) -> bool:
        sent = self._link.send(message)
        if sent:  # receive() after send(): libzmq's descriptor signals on edges
            asyncio.get_running_loop().call_soon(self._listen)
        return sent
