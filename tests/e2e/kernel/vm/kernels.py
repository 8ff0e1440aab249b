"""The kernels that the VM boots."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Kernel(NamedTuple):
    """A kernel of Debian's."""

    name: str
    suites: tuple[str, ...]
    """Of the archive: the kernel is from the last one; none: what the machine's apt knows."""


STABLE: Final = Kernel("stable", ())
NEWER: Final = Kernel("newer", ("trixie", "trixie-backports"))
KERNELS: Final[Mapping[str, Kernel]] = {kernel.name: kernel for kernel in (STABLE, NEWER)}
"""By name; the first is the default."""
