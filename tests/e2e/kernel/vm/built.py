"""Modules that are in Linux and not in Debian's kernels, built from the same source.

rocker drives a switch that QEMU emulates: one PCI function with an interface for each port.
netdevsim makes devices for tests of devlink, with an eswitch and virtual functions. Compiler and
headers are those that the kernel was built with.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.e2e.kernel.vm import debian

SOURCES: Final[Mapping[str, str]] = {
    "rocker": "drivers/net/ethernet/rocker",
    "netdevsim": "drivers/net/netdevsim",
}
"""Their folders in the source, by module."""
_SETTINGS: Final = ("CONFIG_ROCKER=m", "CONFIG_NETDEVSIM=m")


def build(version: str, into: Path, work: Path, options: tuple[str, ...]) -> None:
    """Build SOURCES for a kernel; CannotRun.

    Args:
        version: as ``uname -r`` says it.
        into: the folder to make for the modules.
        work: a folder that is made for it, and removed.
        options: for apt, as ``debian.only`` yields them.
    """
    release = re.match(r"[0-9]+\.[0-9]+", version)
    if release is None:
        raise debian.CannotRun(f"no number in the kernel's version {version}")
    source = f"linux-source-{release[0]}"
    tools = ("make", "binutils", "dash", "mawk", "coreutils", "sed", "grep")
    packages = (f"linux-headers-{version}", *tools)
    root = work / "root"
    debian.unpack_root(packages, root, options, wanted=(source,))
    (root / "usr/bin/awk").symlink_to("mawk")
    archive = root / "usr/src" / f"{source}.tar.xz"
    folders = [f"{source}/{folder}" for folder in SOURCES.values()]
    debian.run("tar", "-xf", str(archive), "-C", str(root / "usr/src"), *folders)
    for name in ("dev", "proc", "tmp"):
        (root / name).mkdir(exist_ok=True)
    for device in ("null", "urandom"):
        debian.run("cp", "-a", f"/dev/{device}", str(root / "dev" / device))
    into.mkdir()
    inside = ("unshare", "--pid", "--fork", "--mount-proc", f"--root={root}")
    for name, folder in SOURCES.items():
        home = f"/usr/src/{source}/{folder}"
        make = ("make", "-s", "-C", f"/usr/src/linux-headers-{version}", f"M={home}")
        debian.run(*inside, *make, *_SETTINGS, "modules")
        debian.run(*inside, "strip", "--strip-debug", f"{home}/{name}.ko")
        shutil.copy(f"{root}{home}/{name}.ko", into)
    shutil.rmtree(work)
