"""Uevents as the kernel tells them, in a network namespace of the test's own."""

import shlex
import sys
from typing import Final

import pytest

from rbln_worker.host.netlink.uevent import Uevent
from tests.sim import network, uevents
from tests.sim.listener import Listener
from tests.sim.uevents import Injector

pytestmark = pytest.mark.system

BDF: Final = "0000:20:00.0"
BURST: Final = 10_000


def numbered(number: int) -> bytes:
    return uevents.pci("change", BDF, NUMBER=f"{number}")


def numbers(events: tuple[Uevent, ...]) -> list[int]:
    return [int(event.properties["NUMBER"]) for event in events]


def test_a_device_that_comes() -> None:
    with Listener(Uevent) as listener:
        uevents.inject(listener.pid, [uevents.pci("bind", BDF, DRIVER="rebellions")])
        heard = listener.drain()
        (event,) = heard.items
        assert (event.action, event.devpath) == ("bind", f"/devices/pci0000:20/{BDF}")
        assert (event.subsystem, event.driver) == ("pci", "rebellions")
        assert event.properties["PCI_SLOT_NAME"] == BDF
        assert event.properties["SEQNUM"].isdigit()  # which is the kernel's, as is the sender
        assert not heard.lost


def test_a_real_one() -> None:
    """An interface's, told by the kernel in its own namespace only."""
    with Listener(Uevent) as listener:
        listener.run(f"ip link add eno1 type {network.plain()}")
        heard = listener.until(lambda event: event.subsystem == "net")
        event = next(event for event in heard.items if event.subsystem == "net")
        assert (event.action, event.properties["INTERFACE"]) == ("add", "eno1")
        assert event.devpath.endswith("/net/eno1")


def test_a_burst() -> None:
    with Listener(Uevent) as listener, Injector(listener.pid) as inject:
        inject(*map(numbered, range(BURST)))
        heard = listener.until(lambda event: event.properties["NUMBER"] == f"{BURST - 1}")
        assert numbers(heard.items) == list(range(BURST))
        assert not heard.lost


def test_as_many_as_asked_for() -> None:
    with Listener(Uevent) as listener, Injector(listener.pid) as inject:
        inject(*map(numbered, range(5)))
        assert [numbers(listener.drain(most).items) for most in (2, 1, 9)] == [[0, 1], [2], [3, 4]]


def test_an_overflow_is_told_until_all_was_read() -> None:
    """What comes while the socket is still full is lost too; nobody would tell of it again."""
    with Listener(Uevent, buffer_bytes=1) as listener, Injector(listener.pid) as inject:
        inject(*map(numbered, range(100)))
        first = listener.drain(2)
        assert first.lost
        inject(numbered(100))
        rest = listener.drain()
        assert rest.lost
        heard = numbers(first.items + rest.items)
        assert heard == list(range(len(heard)))
        inject(numbered(101))
        later = listener.drain()
        assert (numbers(later.items), later.lost) == ([101], False)


def test_what_is_no_uevent_counts_as_lost() -> None:
    with Listener(Uevent) as listener, Injector(listener.pid) as inject:
        inject(b"nonsense\0", numbered(1))
        heard = listener.drain()
        assert (numbers(heard.items), heard.lost) == ([1], True)


@pytest.mark.parametrize("group", [0, 1], ids=["to the socket", "to the group"])
def test_what_a_process_says_is_not_believed(group: int) -> None:
    with Listener(Uevent) as listener, Injector(listener.pid) as inject:
        port = 0 if group else listener.pid  # a process's first socket has its pid as address
        forge = (
            "import socket; s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15); "
            f"s.sendto({uevents.pci('add', '0000:66:06.6')!r}, ({port}, {group}))"
        )
        listener.run(shlex.join([sys.executable, "-c", forge]))
        inject(numbered(1))
        heard = listener.drain()
        assert not heard.lost
        assert numbers(heard.items) == [1]
