"""What devlink says of functions: eswitch mode, a parameter, the name of what is loaded.

Generic netlink through pyroute2 (Documentation/networking/devlink); like rtnetlink.py imported
only by a process that looks at a node with network pools. Whatever devlink does not answer is
unknown and hinders nobody: many drivers don't speak it, and older kernels have none.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final, Literal, Protocol

from pyroute2 import AsyncDL
from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.devlink import (
    DEVLINK_CMD_ESWITCH_GET,
    DEVLINK_CMD_INFO_GET,
    DEVLINK_CMD_PARAM_GET,
    devlinkcmd,
)
from pyroute2.netlink.exceptions import NetlinkError

Bus = Literal["pci", "auxiliary"]

_SWITCHDEV: Final = 1
"""DEVLINK_ESWITCH_MODE_SWITCHDEV (linux/devlink.h)."""


class Asked(Protocol):
    """Something that answers devlink's commands."""

    def __call__(self, command: int, bus: Bus | None, device: str, /) -> tuple[Any, ...]:
        """The answers, none where it doesn't answer; all devices' where no bus is given."""


class Devlink:
    """Questions to devlink; each costs a round trip, so callers ask once for each PF."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def is_switchdev(self, bdf: str) -> bool:
        """Whether the function's eswitch is in switchdev mode."""
        return any(
            answer.get_attr("DEVLINK_ATTR_ESWITCH_MODE") == _SWITCHDEV
            for answer in self._asked(DEVLINK_CMD_ESWITCH_GET, "pci", bdf)
        )

    def rdma_enabled(self) -> frozenset[str]:
        """The names of all functions and sub-functions whose parameter ``enable_rdma`` is on."""
        return frozenset(
            answer.get_attr("DEVLINK_ATTR_DEV_NAME")
            for answer in self._asked(DEVLINK_CMD_PARAM_GET, None, "")
            for param in _all(answer, "DEVLINK_ATTR_PARAM")
            if param.get_attr("DEVLINK_ATTR_PARAM_NAME") == "enable_rdma" and _is_on(param)
        )

    def running(self, bdf: str, name: str) -> str:
        """The version of something that runs on a function (``fw.app.name``), or nothing."""
        for answer in self._asked(DEVLINK_CMD_INFO_GET, "pci", bdf):
            for version in _all(answer, "DEVLINK_ATTR_INFO_VERSION_RUNNING"):
                if version.get_attr("DEVLINK_ATTR_INFO_VERSION_NAME") == name:
                    return str(version.get_attr("DEVLINK_ATTR_INFO_VERSION_VALUE") or "")
        return ""


class Kernel:
    """The kernel's devlink: no answer where there is none, no such device or no permission."""

    def __init__(self) -> None:
        self._is_there = True

    def __call__(self, command: int, bus: Bus | None, device: str) -> tuple[Any, ...]:
        """Ask; see Asked."""
        if not self._is_there:
            return ()
        message = devlinkcmd()
        message["cmd"] = command
        message["version"] = 1
        if bus is not None:
            message["attrs"] = [
                ("DEVLINK_ATTR_BUS_NAME", bus),
                ("DEVLINK_ATTR_DEV_NAME", device),
            ]
        flags = NLM_F_REQUEST | (NLM_F_DUMP if bus is None else NLM_F_ACK)
        try:
            return asyncio.run(self._ask(message, flags))
        except (OSError, NetlinkError):
            return ()

    async def _ask(self, message: devlinkcmd, flags: int) -> tuple[Any, ...]:
        # pyroute2's own synchronous socket leaves its event loop open where there is no devlink.
        socket = AsyncDL()
        try:
            try:
                await socket.setup_endpoint()
            except (OSError, NetlinkError):
                self._is_there = False
                return ()
            answers = await socket.nlm_request(message, msg_type=socket.prid, msg_flags=flags)
            return tuple([answer async for answer in answers])
        finally:
            socket.close()


def _is_on(param: Any) -> bool:  # noqa: ANN401 - pyroute2 has no types
    # A boolean is a flag: its attribute is there or not (net/devlink/param.c).
    return any(
        key == "DEVLINK_ATTR_PARAM_VALUE_DATA"
        for values in _all(param, "DEVLINK_ATTR_PARAM_VALUES_LIST")
        for value in _all(values, "DEVLINK_ATTR_PARAM_VALUE")
        for key, _ in value["attrs"]
    )


def _all(answer: Any, name: str) -> Iterator[Any]:  # noqa: ANN401
    return iter(answer.get_attrs(name))
