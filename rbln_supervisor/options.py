"""The options of the command line as one value, read once."""

import logging
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from rbln_worker.core.allocation.cdi import Mode
from rbln_worker.core.allocation.given import PreStartChoice
from rbln_worker.core.registration import Choice
from rbln_worker.process.log import Format
from rbln_worker.process.replace_file import replace_file
from rbln_worker.spec import KubeletDirs, below_root

FILE: Final = "options.json"
"""File name in the run directory: the options of its last supervisor."""
KUBELET: Final = Path("/var/lib/kubelet")


class Options(msgspec.Struct, frozen=True):
    """Options of rbln-supervisor."""

    config_file: Path = Path("/etc/pcidp/config.json")
    resource_prefix: str = "intel.com"
    """Prefix of pools without one."""
    use_cdi: bool = False
    cdi_mode: Literal["annotations", "cri", "both"] = "both"
    registration: Choice = "auto"
    kubelet_dir: Path = KUBELET
    """The kubelet's --root-dir on the host. This and the next three folders are below host_root."""
    device_plugins_dir: Path = KUBELET / "device-plugins"
    """The same for every kubelet (pluginapi.DevicePluginPath), whatever its --root-dir is."""
    pod_resources_dir: Path = KUBELET / "pod-resources"
    plugins_registry_dir: Path = KUBELET / "plugins_registry"
    run_dir: Path = Path("/run/rbln")
    """Folder of sockets, locks and last log lines; not below host_root."""
    host_root: Path = Path("/")
    in_container: bool = False
    allow_default_route: bool = False
    """True: network devices of the node's default route are allocatable, too."""
    gone_grace_s: float = 300.0
    """Seconds for which a device that is gone stays listed as Unhealthy."""
    watch_config: bool = True
    """True: reload when the configuration file changes."""
    rescan_s: float = 60.0
    """Seconds between two periodic discoveries."""
    pre_start_check: PreStartChoice = "auto"
    """Condition under which the kubelet calls PreStartContainer."""
    worker_memory_max: int = 1 << 30
    """Maximum of private memory of a worker (bytes); 0: no limit."""
    node_name: str = ""
    """Name of the Node object, for pools that are exported by DRA."""
    kubeconfig: Path | None = None
    """Access of these pools to the API server; None: the pod's service account."""
    log_level: int = logging.INFO
    log_format: Format = "text"
    check: bool = False
    """True: start nothing, only check that a start is possible."""

    @property
    def cdi(self) -> Mode:
        """CDI mode: the way in which devices are requested from the container runtime."""
        return self.cdi_mode if self.use_cdi else "off"

    @property
    def kubelet_dirs(self) -> KubeletDirs:
        """The kubelet's folders, below host_root."""
        return KubeletDirs(
            device_plugins=below_root(self.host_root, self.device_plugins_dir),
            plugins_registry=below_root(self.host_root, self.plugins_registry_dir),
            pod_resources=below_root(self.host_root, self.pod_resources_dir),
            pods_api=below_root(self.host_root, self.kubelet_dir / "pods-api"),
            plugins=below_root(self.host_root, self.kubelet_dir / "plugins"),
        )

    @property
    def host_visible(self) -> bool:
        """True if the host's files are below host_root; they are not in a container's own root."""
        return not (self.in_container and self.host_root == Path("/"))


def save_options(options: Options) -> None:
    """Save the options for readers without a running supervisor. Raises OSError."""
    replace_file(options.run_dir / FILE, msgspec.json.encode(options, enc_hook=str))


def last_options(run_dir: Path) -> Options:
    """Return the options of the last supervisor, or the defaults if they are not known."""
    try:
        raw = (run_dir / FILE).read_bytes()
        known = msgspec.json.decode(raw, type=Options, dec_hook=decode_path)
    except (OSError, msgspec.DecodeError, RecursionError, ValueError):
        known = Options()
    return msgspec.structs.replace(known, run_dir=run_dir)


def decode_path(kind: type[Any], value: object) -> Path:
    """Return a path that was encoded as a string, for msgspec (``dec_hook``)."""
    if kind is not Path or not isinstance(value, str):
        raise TypeError(f"expected a path, got {type(value).__name__}")
    return Path(value)
