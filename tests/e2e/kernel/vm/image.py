"""What the VM boots: Debian's kernel, and a first root file system of busybox and modules."""

import fcntl
import hashlib
import lzma
import shutil
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.kernel.vm import built, cpio, debian
from tests.e2e.kernel.vm.debian import CannotRun
from tests.e2e.kernel.vm.kernels import Kernel
from tests.e2e.kernel.vm.modules import Modules

INIT: Final = Path(__file__).with_name("init.sh")
MODULES: Final = (
    *("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"),  # to boot with
    *("virtio_blk", "nvme", "vfio-pci", "vfio_iommu_type1"),  # to be tried
    *("igb", "igbvf", "pci-pf-stub"),  # where QEMU has network cards with SR-IOV
)
FIELD_MODULES: Final = (
    "crc32c_generic",  # of which libcrc32c of Open vSwitch makes its own
    *("virtio_net", "8021q", "bonding", "team", "bridge", "veth", "dummy", "macvlan"),
    *("openvswitch", "iommufd", *built.SOURCES),
)
"""Loaded where the kernel has them.

All are loaded at the start: no udev runs in the VM that would load one for a device.
"""

_XZ: Final = b"\xfd7zXZ\0"


class Image(NamedTuple):
    """Files to boot from."""

    version: str
    """The kernel's, as ``uname -r`` says it."""
    kernel: Path
    initramfs: Path
    without_built: str
    """Why it lacks the modules that are built for it; empty where it has them."""


def image(cache: Path, kernel: Kernel) -> Image:
    """Return a kernel's image of a cache folder, made there where it is missing; CannotRun."""
    cache.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(b"\0".join(path.read_bytes() for path in _recipe())).hexdigest()[:12]
    folder = cache / f"image-{kernel.name}-{recipe}"
    with (cache / "lock").open("w") as lock:  # one makes it, whoever comes meanwhile waits
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in cache.glob(f"image-{kernel.name}-*"):
                shutil.rmtree(old)
            making = cache / "making"
            shutil.rmtree(making, ignore_errors=True)
            with _packages(kernel, making / "apt") as options:
                _make(making, options)
            making.rename(folder)
    without = folder / "without"
    return Image(
        (folder / "version").read_text(),
        folder / "kernel",
        folder / "initramfs",
        without.read_text() if without.exists() else "",
    )


@contextmanager
def _packages(kernel: Kernel, folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield apt's options for the suites that the kernel is from."""
    if not kernel.suites:
        yield ()
        return
    with debian.only(kernel.suites, folder) as options:
        yield options


def _recipe() -> Sequence[Path]:
    """What an image depends on: it is made anew where one of these changes."""
    here = Path(__file__).parent
    return (
        INIT,
        *(here / f"{name}.py" for name in ("image", "modules", "cpio", "kernels", "built")),
    )


def _make(folder: Path, options: tuple[str, ...]) -> None:
    package = debian.kernel_package(options)
    version = package.removeprefix("linux-image-")
    packages = folder / "packages"
    debian.unpack((package, *debian.parts(package, version, options)), packages, options)
    debian.unpack(("busybox-static",), packages)
    busybox = next(path for path in packages.glob("**/bin/busybox") if path.is_file())
    folder_of_modules = next(packages.glob(f"**/lib/modules/{version}/modules.builtin")).parent
    try:
        built.build(version, folder_of_modules / "built", folder / "build", options)
    except CannotRun as why:
        (folder / "without").write_text(f"{why}")
    modules = Modules(folder_of_modules)
    loaded = modules.ordered((*MODULES, *filter(modules.has, FIELD_MODULES)))
    (folder / "initramfs").write_bytes(
        cpio.archive(
            (
                *(cpio.directory(name) for name in ("bin", "dev", "sys", "mnt", "modules")),
                # Before devtmpfs is mounted, init's own words go here.
                cpio.Entry("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
                cpio.program("bin/busybox", busybox.read_bytes()),
                cpio.program("init", INIT.read_bytes()),
                *(
                    cpio.program(f"modules/{number:02}-{name}.ko", content)
                    for number, (name, content) in enumerate(loaded.items())
                ),
            )
        )
    )
    (folder / "kernel").write_bytes(_bare(next(packages.glob("**/vmlinuz*"))))
    (folder / "version").write_text(version)
    shutil.rmtree(packages)


def _bare(vmlinuz: Path) -> bytes:
    """The ELF file in a bzImage (x86/boot.rst), which QEMU starts by its PVH entry.

    Emulated, a kernel takes seconds to unpack itself. One that is not xz is left to do it.
    """
    data = vmlinuz.read_bytes()
    setup_sectors = data[0x1F1] or 4
    offset, length = struct.unpack_from("<II", data, 0x248)
    begin = (setup_sectors + 1) * 512 + offset
    payload = data[begin : begin + length]
    if not payload.startswith(_XZ):
        return data
    return lzma.LZMADecompressor().decompress(payload)
