"""The latest answers and the latest ListAndWatch message, for any number of streams."""

import asyncio
from collections.abc import AsyncIterator

from rbln_worker.kubelet.prepared import PreparedAnswers


class Board:
    """A list that streams follow: a slow one skips to the newest, and gets no list twice."""

    def __init__(self, prepared: PreparedAnswers) -> None:
        self.prepared = prepared
        """The answers of calls."""
        self._message: bytes | None = None
        self._repeats = 0
        self._changed = asyncio.Event()

    def publish_list(self, prepared: PreparedAnswers) -> None:
        """Publish these answers, and their list."""
        self.prepared = prepared
        if (message := prepared.message) != self._message:
            self._message = message
            self._wake_streams()

    def repeat_list(self) -> None:
        """Send each stream the list again."""
        self._repeats += 1
        self._wake_streams()

    async def watch_list(self) -> AsyncIterator[bytes]:
        """Yield the current message, and the newest one after each change."""
        sent, repeats = None, 0
        while True:
            changed, message = self._changed, self._message
            # A list that changed and changed back while the stream was slow equals the sent one.
            if message is not None and (message != sent or repeats != self._repeats):
                sent, repeats = message, self._repeats
                yield message
            else:
                await changed.wait()

    def _wake_streams(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
