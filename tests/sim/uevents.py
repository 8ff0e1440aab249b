"""Uevents as the kernel tells them, in the network namespace of a process of ours.

The kernel broadcasts what is sent to it on a NETLINK_KOBJECT_UEVENT socket as if it were its own
(lib/kobject_uevent.c, uevent_net_rcv): for whoever owns the namespace, and in this namespace only.
It puts a SEQNUM behind it, and itself as the sender.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from struct import pack
from types import TracebackType
from typing import Final, Self

from tests.sim import network

_CHILD: Final = Path(__file__).with_name("uevent_child.py")
_END_S: Final = 10.0


def frame(action: str, devpath: str, subsystem: str = "", **properties: str) -> bytes:
    """An event as the kernel words it; ``properties`` such as ``DRIVER`` and ``PCI_SLOT_NAME``."""
    said = {"ACTION": action, "DEVPATH": devpath}
    if subsystem:
        said["SUBSYSTEM"] = subsystem
    said.update(properties)
    lines = (f"{action}@{devpath}", *(f"{key}={value}" for key, value in said.items()))
    return b"".join(line.encode(errors="surrogateescape") + b"\0" for line in lines)


def pci(action: str, bdf: str, **properties: str) -> bytes:
    """An event of a PCI function; where it hangs in the tree is left out."""
    home = f"/devices/pci{bdf[:-5]}/{bdf}"
    return frame(action, home, "pci", PCI_SLOT_NAME=bdf, **properties)


class Injector:
    """Injects events where the process ``pid`` is, from ``with`` to the end of the block.

    The process that does it is there from the start, so that a call takes some 10 us an event.
    """

    def __init__(self, pid: int) -> None:
        self._child = subprocess.Popen(
            [*network.entered(pid), sys.executable, "-I", "-S", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._child as child:
            assert child.stdin is not None
            child.stdin.close()
            child.wait(_END_S)

    def __call__(self, *frames: bytes) -> None:
        """Inject; every listener's socket has all of them, or has overflown, when this returns."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        said = b"".join(pack("=I", len(one)) + one for one in frames)
        self._child.stdin.write(pack("=I", len(frames)) + said)
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        assert answer == b"injected\n", f"the kernel takes no uevents from us: {answer.decode()}"


def inject(pid: int, frames: Iterable[bytes]) -> None:
    """Inject once."""
    with Injector(pid) as injector:
        injector(*frames)
