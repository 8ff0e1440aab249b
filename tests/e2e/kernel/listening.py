"""What the kernel itself says of devices and links, and when: ours can be no quicker than that."""

import os
import select
import threading
from time import monotonic
from types import TracebackType
from typing import Final, NamedTuple, Self

from rbln_worker.host.netlink.link_events import LinkSocket
from rbln_worker.host.netlink.uevent import UeventSocket

_MOST: Final = 1024
LINK: Final = "link"
"""What rtnetlink says."""
DEADLINE_S: Final = 10.0


class Word(NamedTuple):
    """One message of the kernel's."""

    at: float
    """When it was taken from the socket (monotonic seconds)."""
    action: str
    """A uevent's action, or LINK."""
    of: str
    """A device's path below /sys; or a link's name and "up" or "down"."""


class Listening:
    """A thread that keeps all that the kernel says, from ``with`` to the end of the block."""

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._changed = threading.Condition()
        self._uevents = UeventSocket()
        self._links = LinkSocket()
        self._end, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        os.close(self._ended)
        self._thread.join()
        os.close(self._end)
        self._uevents.close()
        self._links.close()

    def last(self, action: str, of: str, since: float) -> float:
        """When the kernel last said so of a device (a part of its path) or link; it is waited for.

        Args:
            action: a uevent's action, or LINK.
            of: what the path or the link's word ends with.
            since: not before (monotonic seconds).
        """

        def found() -> list[float]:
            return [
                word.at
                for word in self._words
                if word.at >= since and word.action == action and word.of.endswith(of)
            ]

        with self._changed:
            heard = self._changed.wait_for(found, DEADLINE_S)
            assert heard, f"the kernel did not say {action} {of} within {DEADLINE_S} s"
            return max(found())

    def about(self, device: str, since: float) -> tuple[Word, ...]:
        """What was said so far of a device and of all below it."""
        with self._changed:
            return tuple(word for word in self._words if word.at >= since and device in word.of)

    def _listen(self) -> None:
        uevents, links = self._uevents.fileno(), self._links.fileno()
        while True:
            ready = select.select((uevents, links, self._end), (), ())[0]
            now = monotonic()
            words: list[Word] = []
            if uevents in ready:
                words += (
                    Word(now, event.action, event.devpath)
                    for event in self._uevents.drain(_MOST).items
                )
            if links in ready:
                words += (
                    Word(now, LINK, f"{change.state.name} {'up' if change.state.up else 'down'}")
                    for change in self._links.drain(_MOST).items
                    if change.state is not None
                )
            with self._changed:
                self._words += words
                self._changed.notify_all()
            if self._end in ready:
                return
