"""The VM's network interfaces: names, links, and other network namespaces."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.kernel import pci, programs

IP: Final = ("/run/vm/busybox", "ip")
"""The host may have none."""
INTEL: Final = "8086"
PF: Final = "10c9"
VF: Final = "10ca"
SWITCH: Final = "0006"


class Cards(NamedTuple):
    """The two network PFs, by address: the interface of each has a name of ours."""

    quiet: str
    """On NUMA node 0. Its interface is down, so that nothing happens to its link."""
    linked: str
    """On NUMA node 1. Its interface is up."""


class Nic(NamedTuple):
    """A virtio network card."""

    qemu: str
    """QEMU's name of it, for set_link and device_del."""
    address: str
    interface: str


QUIET: Final = "pf0"
LINKED: Final = "pf1"


def pfs() -> tuple[str, ...]:
    """The addresses of the network PFs that are there."""
    return pci.of_product(INTEL, PF)


def ip(*words: str) -> None:
    """Run ip."""
    subprocess.run((*IP, *words), check=True)


def interface(address: str) -> str:
    """Return the name of a function's interface, below the function or below a child of it."""
    (found,) = interfaces(address)
    return found


def interfaces(address: str) -> tuple[str, ...]:
    """Return the names of a function's interfaces that are in this namespace."""
    home = pci.DEVICES / address
    return tuple(path.name for below in ("net", "virtio*/net") for path in home.glob(f"{below}/*"))


def iproute(*commands: str) -> None:
    """Run ip's commands, one after the other, in one process; all of them have to work.

    Busybox's ip knows no nexthops and no options of bonds.
    """
    program, environment = programs.found("ip")
    text = "".join(f"{command}\n" for command in commands)
    subprocess.run((program, "-batch", "-"), env=environment, input=text, text=True, check=True)


def rename(before: str, after: str) -> None:
    """Give an interface that is down another name."""
    ip("link", "set", before, "name", after)


def is_set_up(name: str) -> bool:
    """Return True where somebody has set the interface up, with or without carrier (IFF_UP)."""
    return bool(int(Path("/sys/class/net", name, "flags").read_text(), 16) & 1)


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
    in_pod(pid, "link", "set", name, "netns", "1")


def in_pod(pid: int, *words: str) -> None:
    """Run ip in a process's network namespace."""
    enter = ("nsenter", f"--net=/proc/{pid}/ns/net")
    subprocess.run((*enter, *IP, *words), check=True)
