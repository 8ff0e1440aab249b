"""A client of devlink: eswitch mode, a parameter, and names of loaded firmware of functions.

Generic netlink (Documentation/networking/devlink, linux/devlink.h). A missing answer means unknown
and is no error: many drivers don't support devlink, and older kernels don't have it.
"""

import sys
from collections.abc import Callable
from errno import ENOENT
from socket import socket
from struct import Struct
from typing import Final

from rbln_worker.host.netlink import codec

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


DevlinkTransport = Callable[[int, str], tuple[bytes, ...]]
"""Sends a command for a device (empty: all devices); returns the attributes of each answer."""


class Devlink:
    """Requests to devlink; each costs a round trip, so callers send one for each PF."""

    def __init__(self, asked: DevlinkTransport) -> None:
        self._asked = asked

    def is_switchdev(self, bdf: str) -> bool | None:
        """Return True if the function's eswitch is in switchdev mode; None if it is unknown.

        The kernel reports the mode only with CAP_NET_ADMIN.
        """
        for answer in self._asked(ESWITCH_GET, bdf):
            for mode in codec.nested_values(answer, _ESWITCH_MODE):
                return int.from_bytes(mode, sys.byteorder) == _SWITCHDEV
        return None

    def rdma_enabled(self) -> frozenset[str]:
        """Return the names of functions and sub-functions with ``enable_rdma`` on."""
        return frozenset(
            _string_attribute(answer, _DEV_NAME)
            for answer in self._asked(PARAM_GET, "")
            for param in codec.nested_values(answer, _PARAM)
            if _string_attribute(param, _PARAM_NAME) == "enable_rdma" and _is_on(param)
        )

    def running_version(self, bdf: str, name: str) -> str:
        """Return the running version of a component (``fw.app.name``); empty if it is unknown."""
        for answer in self._asked(INFO_GET, bdf):
            for version in codec.nested_values(answer, _INFO_VERSION_RUNNING):
                if _string_attribute(version, _INFO_VERSION_NAME) == name:
                    return _string_attribute(version, _INFO_VERSION_VALUE)
        return ""


class KernelDevlink:
    """The kernel's devlink: no answers without devlink, device or permission."""

    def __init__(self, bus: str = "pci") -> None:
        """Ask about the devices of a bus."""
        self._bus = bus
        self._family: int | None = None
        self._is_there = True

    def __call__(self, command: int, device: str) -> tuple[bytes, ...]:
        """Send a command; see DevlinkTransport."""
        if not self._is_there:
            return ()
        to, flags = b"", codec.NLM_F_DUMP
        if device:
            to = codec.encode_text(_BUS_NAME, self._bus) + codec.encode_text(_DEV_NAME, device)
            flags = codec.NLM_F_ACK
        try:
            with codec.open_socket(NETLINK_GENERIC) as asked:
                if self._family is None:
                    self._family = family_number(asked, "devlink")
                return _query_family(asked, self._family, command, to, flags)
        except OSError:
            self._is_there = self._family is not None
            return ()


def family_number(asked: socket, name: str) -> int:
    """Return the number of a generic netlink family; raise OSError if there is none."""
    whom = codec.encode_text(_CTRL_ATTR_FAMILY_NAME, name)
    for answer in _query_family(asked, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, whom, codec.NLM_F_ACK):
        for number in codec.nested_values(answer, _CTRL_ATTR_FAMILY_ID):
            return int.from_bytes(number, sys.byteorder)
    raise OSError(ENOENT, f"the family {name} has no number")


def _query_family(
    asked: socket, number: int, command: int, attributes: bytes, flags: int
) -> tuple[bytes, ...]:
    request = _GENLMSGHDR.pack(command, 1, 0) + attributes
    answers = codec.query_kernel(asked, number, request, flags=flags)
    return tuple(answer.payload[_GENLMSGHDR.size :] for answer in answers if answer.kind == number)


def _is_on(param: bytes) -> bool:
    # A boolean is a flag: its attribute is there or not (net/devlink/param.c).
    return any(
        True
        for values in codec.nested_values(param, _PARAM_VALUES_LIST)
        for value in codec.nested_values(values, _PARAM_VALUE)
        for _ in codec.nested_values(value, _PARAM_VALUE_DATA)
    )


def _string_attribute(attributes: bytes, wanted: int) -> str:
    """Return a string attribute; empty if it is missing."""
    return next(
        (codec.decode_string(value) for value in codec.nested_values(attributes, wanted)), ""
    )
