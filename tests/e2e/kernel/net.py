"""The VM's network interfaces: names, links, and other network namespaces."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.kernel import pci

IP: Final = ("/run/vm/busybox", "ip")
"""The host may have none."""
INTEL: Final = "8086"
PF: Final = "10c9"
VF: Final = "10ca"


class Cards(NamedTuple):
    """The two network PFs, by address: the interface of each has a name of ours."""

    quiet: str
    """On NUMA node 0. Its interface is down, so that nothing happens to its link."""
    linked: str
    """On NUMA node 1. Its interface is up."""


QUIET: Final = "pf0"
LINKED: Final = "pf1"


def pfs() -> tuple[str, ...]:
    """The addresses of the network PFs that are there."""
    wanted = (f"0x{INTEL}", f"0x{PF}")
    return tuple(
        address
        for address in sorted(pci.addresses())
        if (pci.attribute(address, "vendor"), pci.attribute(address, "device")) == wanted
    )


def ip(*words: str) -> None:
    """Run ip."""
    subprocess.run((*IP, *words), check=True)


def interface(address: str) -> str:
    """The name of a function's interface."""
    (found,) = (pci.DEVICES / address / "net").iterdir()
    return found.name


def rename(before: str, after: str) -> None:
    """Give an interface that is down another name."""
    ip("link", "set", before, "name", after)


def is_up(name: str) -> bool:
    """The link is up, and the kernel has told everybody."""
    return Path("/sys/class/net", name, "operstate").read_text().strip() == "up"


@contextmanager
def pod() -> Iterator[int]:
    """A network namespace, as a pod has one; the pid of a process in it."""
    ours = Path("/proc/self/ns/net").readlink()
    process = subprocess.Popen(("unshare", "--net", "sleep", "infinity"))
    try:
        space = Path("/proc", str(process.pid), "ns", "net")
        pci.until(lambda: space.readlink() != ours, what="a namespace of its own")
        yield process.pid
    finally:
        process.kill()
        process.wait()


def give(name: str, pid: int) -> None:
    """Move an interface into a process's network namespace."""
    ip("link", "set", name, "netns", str(pid))


def take_back(name: str, pid: int) -> None:
    """Move it out again, to that of the first process."""
    enter = ("nsenter", f"--net=/proc/{pid}/ns/net")
    subprocess.run((*enter, *IP, "link", "set", name, "netns", "1"), check=True)
