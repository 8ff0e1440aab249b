"""Lists and files for a support bundle: the first data that support would ask for."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.doctor.run_dir import living_processes
from rbln_supervisor.options import Options
from rbln_supervisor.pod_devices.prepared_claims import driver_folders
from rbln_worker.contract.claims import CHECKPOINT

MAX_FILE_BYTES: Final = 256 * 1024
"""Maximum size of each file (bytes); its end is kept."""
_MAX_ENTRIES: Final = 5000
_PROC: Final = Path("/proc")
_BOOT_OPTIONS: Final = ("iommu", "intel_iommu", "amd_iommu", "pci", "vfio", "default_hugepagesz")
_ATTRIBUTES: Final = ("vendor", "device", "class", "numa_node")
_PROC_FILES: Final = ("status", "limits", "cmdline", "wchan", "stat", "cgroup")
_FOLDERS: Final = (
    *("dev/vfio", "dev/infiniband", "sys/class/rebellions", "sys/class/iommu"),
    *("sys/kernel/iommu_groups", "sys/bus/auxiliary/devices", "sys/class/net"),
    *("var/run/cdi", "var/run/k8s.cni.cncf.io/devinfo/dp"),
)


def list_files(options: Options) -> Mapping[str, str]:
    """Return all texts, by their file name in the bundle."""
    logs = sorted((options.run_dir / "pools").glob("*.log"))
    files = {f"logs/{path.name}": _read_tail(path) for path in logs}
    files |= _process_list(options.run_dir)
    files |= dict(_driver_checkpoints(options))
    files["host/pci-functions.txt"] = "\n".join(_function_lines(options.host_root)) + "\n"
    files["host/lists.txt"] = "\n".join(_folder_listings(options)) + "\n"
    for name in ("version", "meminfo", "loadavg"):
        files[f"host/proc-{name}.txt"] = _read_tail(_PROC / name)
    # A value on the kernel's command line, or of a mount option, may be a secret.
    words = [one for one in _read_tail(_PROC / "cmdline").split() if one.startswith(_BOOT_OPTIONS)]
    files["host/boot-options.txt"] = "\n".join(words) + "\n"
    mounts = [line.split()[1:3] for line in _read_tail(_PROC / "mounts").splitlines()]
    files["host/mounts.txt"] = "".join(f"{' '.join(one)}\n" for one in mounts)
    return files


def _driver_checkpoints(options: Options) -> Iterator[tuple[str, str]]:
    """Yield the claims of each DRA driver; of other programs' files only that they are there."""
    # Only here: the examination of a node without DRA needs none of it.
    from rbln_worker.core.dra.checkpoint import CheckpointError, parse_checkpoint  # noqa: PLC0415

    for folder in driver_folders(options.kubelet_dirs.plugins):
        path = folder / CHECKPOINT
        text = _read_tail(path)
        if not path.exists():
            continue
        try:
            claims = parse_checkpoint(text.encode()).claims.values()
            text = "".join(f"{msgspec.json.encode(one).decode()}\n" for one in claims)
        except CheckpointError as error:
            text = f"({path.stat().st_size} bytes, {str(error)[:200]})\n"
        yield f"host/dra/{folder.name}/claims.jsonl", text


def _process_list(run_dir: Path) -> Mapping[str, str]:
    found = {}
    for pid in sorted(living_processes(run_dir).pids):
        home = _PROC / str(pid)
        parts = [f"== {name}\n{_read_tail(home / name)}" for name in _PROC_FILES]
        links = _entry_names(home / "fd")
        targets = [f"{name} -> {_link_target(home / 'fd' / name)}" for name in links]
        parts.append("== fd\n" + "\n".join(targets))
        found[f"processes/{pid}.txt"] = "\n".join(parts).replace("\0", " ") + "\n"
    return found


def _function_lines(root: Path) -> Iterator[str]:
    """Yield a line for each PCI function, like lspci -n, with the values that selectors use."""
    home = root / "sys/bus/pci/devices"
    for bdf in _entry_names(home):
        one = home / bdf
        words = [f"{name}={_read_tail(one / name).strip() or '-'}" for name in _ATTRIBUTES]
        links = ("driver", "iommu_group", "physfn")
        words += [f"{name}={Path(_link_target(one / name)).name or '-'}" for name in links]
        yield f"{bdf}  {'  '.join(words)}"


def _folder_listings(options: Options) -> Iterator[str]:
    root = options.host_root
    nodes = [name for name in _entry_names(root / "dev") if name.startswith(("rbln", "rsd", "uio"))]
    yield f"== /dev\n{' '.join(nodes)}"
    for folder in _FOLDERS:
        yield f"== /{folder}\n{' '.join(_entry_names(root / folder))}"
    for place in msgspec.structs.astuple(options.kubelet_dirs):
        yield f"== {place}\n{' '.join(_entry_names(place))}"


def _entry_names(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path))[:_MAX_ENTRIES]  # noqa: PTH208 - names only
    except OSError:
        return []


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
