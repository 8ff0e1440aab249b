"""Listens in a namespace of its own to what the kernel says, and is asked what it heard.

As a command it is the process that listens: ``uevents`` or ``links``, and the size of the socket's
buffer. For each number on standard input it waits for something to be heard, drains so many
messages, and answers with a line of JSON.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable
from select import select
from time import monotonic
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import msgspec

from rbln_worker.host.netlink.link_events import LinkChange, LinkSocket
from rbln_worker.host.netlink.multicast import BUFFER_BYTES, Received
from rbln_worker.host.netlink.uevent import Uevent, UeventSocket
from tests.sim import network
from tests.sim.system import REPOSITORY

T = TypeVar("T", Uevent, LinkChange)

WAIT_S: Final = 20.0
"""How long something that is told may take to be heard."""
NAMES: Final = {Uevent: "uevents", LinkChange: "links"}


class Listener(Generic[T]):
    """A process that listens, from ``with`` to the end of the block."""

    def __init__(
        self, item: type[T], setup: Iterable[str] = (), buffer_bytes: int = BUFFER_BYTES
    ) -> None:
        """``setup``: the commands before it listens."""
        command: list[object] = [sys.executable, "-X", "dev", "-W", "error"]
        command += ["-m", "tests.sim.listener", NAMES[item], buffer_bytes]
        self._heard: type[Any] = Received[item]  # type: ignore[valid-type]
        self._process = subprocess.Popen(
            network.inside(setup, command),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        assert first == b"listening\n", first
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            code = process.wait(WAIT_S)
        assert error is not None or code == 0

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def run(self, *commands: str) -> None:
        """Run commands in its namespace."""
        network.run(self.pid, *commands)

    def drain(self, most: int = 1000) -> Received[T]:
        """What it heard, once it has heard something."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%d\n" % most)
        self._process.stdin.flush()
        heard: Received[T] = msgspec.json.decode(self._process.stdout.readline(), type=self._heard)
        return heard

    def until(self, last: Callable[[T], bool]) -> Received[T]:
        """All that it hears until something for which ``last`` holds."""
        items: tuple[T, ...] = ()
        lost, end = False, monotonic() + WAIT_S
        while not any(map(last, items)):
            assert monotonic() < end, f"not heard within {WAIT_S} s; heard: {items}"
            heard = self.drain()
            items, lost = items + heard.items, lost or heard.lost
        return Received(items, lost)


def main() -> None:
    """Listen."""
    kind, buffer_bytes = sys.argv[1], int(sys.argv[2])
    listening = (UeventSocket if kind == "uevents" else LinkSocket)(buffer_bytes)
    print("listening", flush=True)
    for line in sys.stdin:
        select([listening], [], [], WAIT_S)
        print(msgspec.json.encode(listening.drain(int(line))).decode(), flush=True)
    listening.close()


if __name__ == "__main__":
    main()
