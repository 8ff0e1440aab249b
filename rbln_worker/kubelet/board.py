"""The latest ListAndWatch message, for any number of streams."""

import asyncio
from collections.abc import AsyncIterator


class Board:
    """A value that streams follow: a slow one skips to the newest, an equal value wakes none."""

    def __init__(self) -> None:
        self._message: bytes | None = None
        self._changed = asyncio.Event()

    def publish_list(self, message: bytes) -> bool:
        """Publish a message; return False if it equals the current one."""
        if message == self._message:
            return False
        self._message = message
        self._changed.set()
        self._changed = asyncio.Event()
        return True

    async def watch_list(self) -> AsyncIterator[bytes]:
        """Yield the current message, and the newest one after each change."""
        sent: bytes | None = None
        while True:
            changed = self._changed
            message = self._message
            if message is not None and message != sent:
                sent = message
                yield message
            else:
                await changed.wait()
