"""Sub-functions: auxiliary devices in the folder of their PCI function.

``<driver>.<kind>.<number>`` (Documentation/driver-api/auxiliary_bus.rst). Drivers create others for
their own parts (mlx5_core.eth.0, mlx5_core.rdma.0): these have no ``sfnum`` and are no devices.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from rbln_worker.contract.device import AuxName
from rbln_worker.host.sysfs import PCI_ADDRESS, read_attribute

NAME: Final = re.compile(r"[\w-]+\.(?P<kind>[\w-]+)\.[0-9]{1,10}", re.ASCII)
_SUBFUNCTION: Final = "sf"
_NUMBER: Final = re.compile(r"[0-9]{1,10}")


class Auxiliary(NamedTuple):
    """A sub-function with the facts of its own folder."""

    name: AuxName
    kind: str
    number: int
    path: str


class Unreadable(NamedTuple):
    """A sub-function that can't be described, so that no pool can own it."""

    name: str
    why: str


class Owner(NamedTuple):
    """The function or sub-function nearest above an entry in /sys/class or /sys/bus."""

    name: str
    between: str
    """The folders between it and the entry, joined by slashes."""


def find_owner(entry: str) -> Owner | None:
    """Return the owner of an entry of a class or bus; None if it has none, or is being removed."""
    try:
        *above, _ = os.readlink(entry).split("/")
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    for index in reversed(range(len(above))):
        match = NAME.fullmatch(above[index])
        if PCI_ADDRESS.fullmatch(above[index]) or (match and match["kind"] == _SUBFUNCTION):
            return Owner(above[index], "/".join(above[index + 1 :]))
    return None


def scan_auxiliary(path: str, entries: Iterable[str]) -> Iterator[Auxiliary | Unreadable]:
    """Yield the sub-functions in a PCI function's folder, sorted by name."""
    for name in sorted(entries):
        match = NAME.fullmatch(name)
        if match is None:
            continue
        own = f"{path}/{name}"
        try:
            if not stat.S_ISDIR(os.lstat(own).st_mode):
                continue
            number = read_attribute(f"{own}/sfnum")
        except OSError as error:
            if match["kind"] == _SUBFUNCTION:
                yield Unreadable(name, f"sfnum: {error.strerror}")
            continue
        if _NUMBER.fullmatch(number):
            yield Auxiliary(AuxName(name), match["kind"], int(number), own)
        else:
            yield Unreadable(name, f"sfnum: expected a number, got {number[:40]!r}")
