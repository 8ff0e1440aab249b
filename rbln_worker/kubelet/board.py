"""The latest answers and the latest ListAndWatch message, for any number of streams."""

import asyncio
from collections.abc import AsyncIterator

from rbln_worker.kubelet.prepared import PreparedAnswers


class Board:
    """A list that streams follow: a slow one skips to the newest, an equal list wakes none."""

    def __init__(self, prepared: PreparedAnswers) -> None:
        self.prepared = prepared
        """The answers of calls."""
        self._message: bytes | None = None
        self._number = 0
        """Number of the message, which changes also when it is repeated."""
        self._changed = asyncio.Event()

    def publish_list(self, prepared: PreparedAnswers) -> None:
        """Publish these answers, and their list."""
        self.prepared = prepared
        message = prepared.message
        if message != self._message:
            self._message = message
            self.repeat_list()

    def repeat_list(self) -> None:
        """Send each stream the list again."""
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def watch_list(self) -> AsyncIterator[bytes]:
        """Yield the current message, and the newest one after each change."""
        sent = 0
        while True:
            changed = self._changed
            message = self._message
            if message is not None and self._number != sent:
                sent = self._number
                yield message
            else:
                await changed.wait()
