"""What the VM boots: Debian's kernel, and a first root file system of busybox and modules."""

import fcntl
import hashlib
import lzma
import shutil
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.kernel.vm import cpio, debian
from tests.e2e.kernel.vm.modules import Modules

INIT: Final = Path(__file__).with_name("init.sh")
MODULES: Final = (
    *("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"),  # to boot with
    *("virtio_blk", "nvme", "vfio-pci", "vfio_iommu_type1"),  # to be tried
    *("igb", "igbvf", "pci-pf-stub"),  # where QEMU has network cards with SR-IOV
)
"""All are loaded at the start: no udev runs in the VM that would load one for a device."""

_XZ: Final = b"\xfd7zXZ\0"


class Image(NamedTuple):
    """Files to boot from."""

    version: str
    """The kernel's, as ``uname -r`` says it."""
    kernel: Path
    initramfs: Path


def image(cache: Path) -> Image:
    """The image of a cache folder, which is made there where it isn't; CannotRun."""
    cache.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(b"\0".join(path.read_bytes() for path in _recipe())).hexdigest()[:12]
    folder = cache / f"image-{recipe}"
    with (cache / "lock").open("w") as lock:  # one makes it, whoever comes meanwhile waits
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in cache.glob("image-*"):
                shutil.rmtree(old)
            making = cache / "making"
            shutil.rmtree(making, ignore_errors=True)
            _make(making)
            making.rename(folder)
    return Image((folder / "version").read_text(), folder / "kernel", folder / "initramfs")


def _recipe() -> Sequence[Path]:
    """What an image depends on: it is made anew where one of these changes."""
    here = Path(__file__).parent
    return (INIT, *(here / f"{name}.py" for name in ("image", "modules", "cpio")))


def _make(folder: Path) -> None:
    package = debian.kernel_package()
    version = package.removeprefix("linux-image-")
    packages = folder / "packages"
    debian.unpack((package, "busybox-static"), packages)
    busybox = next(path for path in packages.glob("**/bin/busybox") if path.is_file())
    modules = next(path for path in packages.glob(f"**/lib/modules/{version}") if path.is_dir())
    loaded = Modules(modules).ordered(MODULES)
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
    (folder / "kernel").write_bytes(_bare(packages.joinpath("boot", f"vmlinuz-{version}")))
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
