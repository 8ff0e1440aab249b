"""The node that the plugin sees: a simulated /sys, and real device nodes in the machine's /dev.

containerd makes a container's nodes from the host's, so these have to be nodes. Their device number
has no driver: opening one says ENXIO where the devices cgroup lets it through, and EPERM where it
doesn't.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from tests.e2e.cannot_run import CannotRun
from tests.e2e.cluster.traces import Traces
from tests.sim.node import RBLN_STAT, SimNode

LET_THROUGH: Final = "No such device or address"
REFUSED: Final = "Operation not permitted"

_LOCAL_MAJORS: Final = range(240, 255)
"""For local and experimental use (Documentation/admin-guide/devices.txt)."""


class HostNode(SimNode):
    """A simulated node whose device nodes are the machine's."""

    def __init__(self, root: Path, traces: Traces) -> None:
        """``root`` is for --host-root: its /dev and /var are the machine's."""
        root.mkdir(parents=True, exist_ok=True)
        (root / "dev").symlink_to("/dev")
        (root / "var").symlink_to("/var")
        self._traces = traces
        self._major = _free_major()
        self._numbers: dict[str, int] = {}
        super().__init__(root)
        try:
            traces.add_file(Path(RBLN_STAT), "#!/bin/sh\n", 0o755)
        except FileExistsError as error:
            raise CannotRun(f"{error} is there: this machine has a real NPU's driver") from error

    def add_dev_node(self, name: str) -> None:
        """Make a node in /dev; vfio's own one is used as it is where the machine has it."""
        if name == "vfio/vfio" and (Path("/dev") / name).is_char_device():
            return
        number = self._numbers.setdefault(name, os.makedev(self._major, len(self._numbers)))
        try:
            self._traces.add_device(Path("/dev") / name, number)
        except FileExistsError as error:
            raise CannotRun(f"{error} is there: this machine has real devices") from error

    def remove_dev_node(self, name: str) -> None:
        """Take a node in /dev away that was made."""
        if name in self._numbers:
            (Path("/dev") / name).unlink(missing_ok=True)

    def renumber(self, names: Mapping[str, str]) -> None:
        """Give NPUs other names (rblnN), as a load of the driver may."""
        devices = [
            msgspec.structs.replace(self.devices[bdf], rbln=name) for bdf, name in names.items()
        ]
        for device in devices:
            self.remove(device.bdf)
        self.add(*devices)

    def reload_driver(self, names: Mapping[str, str]) -> None:
        """Unbind the driver from NPUs and bind it again, with other names (rblnN)."""
        for bdf in names:
            self.unbind(bdf)
        for bdf, name in names.items():
            self._devices[bdf] = msgspec.structs.replace(self._devices[bdf], rbln=name)
            self.bind(bdf, "rebellions")

    def path(self, bdf: str) -> str:
        """The node of an NPU as it is now."""
        return f"/dev/{self.devices[bdf].rbln}"

    def number(self, path: str) -> int:
        """The device number of a node that was made."""
        return self._numbers[path.removeprefix("/dev/")]


def _free_major() -> int:
    taken = {int(number) for number in re.findall(r"\d+", Path("/proc/devices").read_text())}
    return next(major for major in _LOCAL_MAJORS if major not in taken)
