"""Uevents as the kernel frames them."""

import pytest

from rbln_worker.host.netlink.uevent import MAX_FRAME_BYTES, Uevent, parse_uevent
from tests.sim import netlink_frames as frames
from tests.sim import uevents


def test_what_linux_says_of_a_driver() -> None:
    event = parse_uevent(frames.UEVENT)
    assert event is not None
    assert event.action == "bind"
    assert event.devpath == "/devices/pci0000:00/0000:00:03.0"
    assert (event.subsystem, event.driver) == ("pci", "virtio-pci")
    assert event.properties["PCI_SLOT_NAME"] == "0000:00:03.0"
    assert len(event.properties) == 10


def test_a_device_without_subsystem_and_driver() -> None:
    assert parse_uevent(b"add@/module/ice\0ACTION=add\0SEQNUM=3\0") == Uevent(
        "add", "/module/ice", "", "", {"ACTION": "add", "SEQNUM": "3"}
    )


def test_a_value_may_be_empty_or_have_any_sign() -> None:
    event = parse_uevent(uevents.frame("change", "/devices/x@y", A="", B="b=c@d", C="new\nline"))
    assert event is not None
    assert event.devpath == "/devices/x@y"
    assert [event.properties[key] for key in "ABC"] == ["", "b=c@d", "new\nline"]


def test_bytes_that_are_no_text_survive() -> None:
    event = parse_uevent(b"add@/devices/\xff\0NAME=\xfe\xc3\0")
    assert event is not None
    assert event.devpath.encode(errors="surrogateescape") == b"/devices/\xff"
    assert event.properties["NAME"].encode(errors="surrogateescape") == b"\xfe\xc3"


@pytest.mark.parametrize(
    "frame",
    [
        *(b"", b"\0", b"@", b"add", b"add@", b"@/x", b"add@x", b"a d@/x", b"add\xff@/x"),
        *(b"\0add@/x\0", b"add@/x\0NOTHING\0", b"add@/x\0=1\0", b"add@/x\0A=1\0\0B=2\0"),
        frames.UDEV,
    ],
    ids=repr,
)
def test_something_else(frame: bytes) -> None:
    assert parse_uevent(frame) is None


def test_a_bound() -> None:
    most = b"add@/x\0A=" + bytes([0x61]) * (MAX_FRAME_BYTES - 9)
    assert parse_uevent(most) is not None
    assert parse_uevent(most + b"a") is None
