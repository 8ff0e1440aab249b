"""A client of devlink: eswitch mode, a parameter, and names of loaded firmware of functions.

Generic netlink (Documentation/networking/devlink, linux/devlink.h). A missing answer means unknown
and is no error: many drivers don't support devlink, and older kernels don't have it.
"""

import sys
from collections.abc import Iterator
from errno import ENOENT
from socket import socket
from struct import Struct
from typing import Final, Literal, Protocol

from rbln_worker.host.netlink import codec
from rbln_worker.host.netlink.codec import NetlinkDecodeError

Bus = Literal["pci", "auxiliary"]

ESWITCH_GET: Final = 29
PARAM_GET: Final = 38
INFO_GET: Final = 51

_BUS_NAME: Final = 1
_DEV_NAME: Final = 2
_ESWITCH_MODE: Final = 25
_PARAM: Final = 80
_PARAM_NAME: Final = 81
_PARAM_VALUES_LIST: Final = 84
_PARAM_VALUE: Final = 85
_PARAM_VALUE_DATA: Final = 86
_INFO_VERSION_RUNNING: Final = 101
_INFO_VERSION_NAME: Final = 103
_INFO_VERSION_VALUE: Final = 104

_SWITCHDEV: Final = 1
"""DEVLINK_ESWITCH_MODE_SWITCHDEV."""

NETLINK_GENERIC: Final = 16
_GENLMSGHDR: Final = Struct("=BBH")
_GENL_ID_CTRL: Final = 16
_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_ATTR_FAMILY_ID: Final = 1
_CTRL_ATTR_FAMILY_NAME: Final = 2


class DevlinkTransport(Protocol):
    """A transport of devlink's commands."""

    def __call__(self, command: int, bus: Bus | None, device: str, /) -> tuple[bytes, ...]:
        """Return the attributes of each answer, as bytes; empty if there is no answer.

        The command is for all devices if ``bus`` is None.
        """


class Devlink:
    """Requests to devlink; each costs a round trip, so callers send one for each PF."""

    def __init__(self, asked: DevlinkTransport) -> None:
        self._asked = asked

    def is_switchdev(self, bdf: str) -> bool | None:
        """Return True if the function's eswitch is in switchdev mode; None if it is unknown.

        The kernel reports the mode only with CAP_NET_ADMIN.
        """
        for answer in self._asked(ESWITCH_GET, "pci", bdf):
            for mode in _all(answer, _ESWITCH_MODE):
                return int.from_bytes(mode, sys.byteorder) == _SWITCHDEV
        return None

    def rdma_enabled(self) -> frozenset[str]:
        """Return the names of functions and sub-functions with ``enable_rdma`` on."""
        return frozenset(
            _text(answer, _DEV_NAME)
            for answer in self._asked(PARAM_GET, None, "")
            for param in _all(answer, _PARAM)
            if _text(param, _PARAM_NAME) == "enable_rdma" and _is_on(param)
        )

    def running(self, bdf: str, name: str) -> str:
        """Return the running version of a component (``fw.app.name``); empty if it is unknown."""
        for answer in self._asked(INFO_GET, "pci", bdf):
            for version in _all(answer, _INFO_VERSION_RUNNING):
                if _text(version, _INFO_VERSION_NAME) == name:
                    return _text(version, _INFO_VERSION_VALUE)
        return ""


class KernelDevlink:
    """The kernel's devlink: no answers without devlink, device or permission."""

    def __init__(self) -> None:
        self._family: int | None = None
        self._is_there = True

    def __call__(self, command: int, bus: Bus | None, device: str) -> tuple[bytes, ...]:
        """Send a command; see Asked."""
        if not self._is_there:
            return ()
        try:
            with codec.opened(NETLINK_GENERIC) as asked:
                if self._family is None:
                    self._family = family(asked, "devlink")
                return _answers(asked, self._family, command, bus, device)
        except OSError:
            self._is_there = self._family is not None
            return ()


def family(asked: socket, name: str) -> int:
    """Return the number of a generic netlink family; raise OSError if there is none."""
    whom = codec.text(_CTRL_ATTR_FAMILY_NAME, name)
    for answer in _ask(asked, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, whom, codec.NLM_F_ACK):
        for number in _all(answer, _CTRL_ATTR_FAMILY_ID):
            return int.from_bytes(number, sys.byteorder)
    raise OSError(ENOENT, f"the family {name} has no number")


def _answers(
    asked: socket, number: int, command: int, bus: Bus | None, device: str
) -> tuple[bytes, ...]:
    if bus is None:
        return _ask(asked, number, command, b"", codec.NLM_F_DUMP)
    whom = codec.text(_BUS_NAME, bus) + codec.text(_DEV_NAME, device)
    return _ask(asked, number, command, whom, codec.NLM_F_ACK)


def _ask(
    asked: socket, number: int, command: int, attributes: bytes, flags: int
) -> tuple[bytes, ...]:
    question = _GENLMSGHDR.pack(command, 1, 0) + attributes
    answers = codec.ask(asked, number, question, flags=flags)
    return tuple(answer.payload[_GENLMSGHDR.size :] for answer in answers if answer.kind == number)


def _is_on(param: bytes) -> bool:
    # A boolean is a flag: its attribute is there or not (net/devlink/param.c).
    return any(
        True
        for values in _all(param, _PARAM_VALUES_LIST)
        for value in _all(values, _PARAM_VALUE)
        for _ in _all(value, _PARAM_VALUE_DATA)
    )


def _text(attributes: bytes, wanted: int) -> str:
    """Return a string attribute; empty if it is missing."""
    return next((codec.string(value) for value in _all(attributes, wanted)), "")


def _all(attributes: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the values of a kind up to the first malformed attribute."""
    try:
        for kind, value in codec.attributes(attributes):
            if kind == wanted:
                yield value
    except NetlinkDecodeError:
        return
