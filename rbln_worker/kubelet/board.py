"""The latest ListAndWatch message, for any number of streams."""

import asyncio
from collections.abc import AsyncIterator


class Board:
    """A value that streams follow: a slow one skips to the newest, an equal one wakes nobody."""

    def __init__(self) -> None:
        self._message: bytes | None = None
        self._changed = asyncio.Event()

    def show(self, message: bytes) -> bool:
        """Put a message before the kubelet; False where it is the one that stands there."""
        if message == self._message:
            return False
        self._message = message
        self._changed.set()
        self._changed = asyncio.Event()
        return True

    async def watch(self) -> AsyncIterator[bytes]:
        """The message now, and every later one that the reader is in time for."""
        sent: bytes | None = None
        while True:
            changed = self._changed
            message = self._message
            if message is not None and message != sent:
                sent = message
                yield message
            else:
                await changed.wait()
