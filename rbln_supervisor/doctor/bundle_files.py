"""Lists and files for a support bundle: the first data that support would ask for."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.doctor.run_dir import living_processes
from rbln_supervisor.options import Options
from rbln_supervisor.pod_devices.prepared_claims import read_prepared_claims
from rbln_worker.host.sysfs import list_names

MAX_FILE_BYTES: Final = 256 * 1024
"""Maximum size of each file (bytes); its end is kept."""
_PROC: Final = Path("/proc")
_BOOT_OPTIONS: Final = ("iommu", "intel_iommu", "amd_iommu", "pci", "vfio", "default_hugepagesz")
_ATTRIBUTES: Final = ("vendor", "device", "class", "numa_node")
_PROCESS_FILES: Final = ("status", "limits", "wchan", "cgroup")
_NODE_FILES: Final = ("version", "meminfo", "loadavg")
_FOLDERS: Final = (
    *("dev", "dev/vfio", "dev/infiniband", "sys/class/rebellions", "sys/class/iommu"),
    *("sys/kernel/iommu_groups", "sys/bus/auxiliary/devices", "sys/class/net"),
    *("var/run/cdi", "var/run/k8s.cni.cncf.io/devinfo/dp"),
)


def list_files(options: Options) -> Mapping[str, str]:
    """Return all texts, by their file name in the bundle."""
    claims = read_prepared_claims(options.kubelet_dirs.plugins)
    # A value on the kernel's command line, or of a mount option, may be a secret.
    words = [one for one in _read_tail(_PROC / "cmdline").split() if one.startswith(_BOOT_OPTIONS)]
    mounts = [line.split()[1:3] for line in _read_tail(_PROC / "mounts").splitlines()]
    files = {
        "host/claims.jsonl": "".join(f"{msgspec.json.encode(one).decode()}\n" for one in claims),
        "host/pci-functions.txt": "\n".join(_function_lines(options.host_root)) + "\n",
        "host/lists.txt": "\n".join(_folder_listings(options)) + "\n",
        "host/proc.txt": _read_all(_PROC, _NODE_FILES),
        "host/boot-options.txt": "\n".join(words) + "\n",
        "host/mounts.txt": "".join(f"{' '.join(one)}\n" for one in mounts),
    }
    for path in (options.run_dir / "pools").glob("*.log"):
        files[f"logs/{path.name}"] = _read_tail(path)
    for pid in filter(None, living_processes(options.run_dir).values()):
        files[f"processes/{pid}.txt"] = _read_all(_PROC / str(pid), _PROCESS_FILES)
    return dict(sorted(files.items()))


def _read_all(folder: Path, names: tuple[str, ...]) -> str:
    return "".join(f"== {name}\n{_read_tail(folder / name)}\n" for name in names)


def _function_lines(root: Path) -> Iterator[str]:
    """Yield a line for each PCI function, like lspci -n, with the values that selectors use."""
    home = root / "sys/bus/pci/devices"
    for bdf in list_names(str(home)):
        one = home / bdf
        words = [f"{name}={_read_tail(one / name).strip() or '-'}" for name in _ATTRIBUTES]
        links = ("driver", "iommu_group", "physfn")
        words += [f"{name}={Path(_link_target(one / name)).name or '-'}" for name in links]
        yield f"{bdf}  {'  '.join(words)}"


def _folder_listings(options: Options) -> Iterator[str]:
    folders = (options.host_root / folder for folder in _FOLDERS)
    for place in (*folders, *msgspec.structs.astuple(options.kubelet_dirs)):
        yield f"== {place}\n{' '.join(list_names(str(place)))}"


def _link_target(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - the target, whatever it is
    except OSError:
        return ""


def _read_tail(path: Path) -> str:
    """Return the end of a file (of /proc and /sys, without sizes, the beginning). Never wait."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return "(no file)"
            file.seek(max(0, status.st_size - MAX_FILE_BYTES))
            return file.read(MAX_FILE_BYTES).decode(errors="replace")
    except OSError as error:
        return f"({error.strerror})"
