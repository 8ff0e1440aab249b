"""The facts about a node, without an interpretation.

The sections are collected independently, each with a deadline; one that is missing is None.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_supervisor.core.status import NodeStatus


class Folder(msgspec.Struct, frozen=True):
    """A folder, or another thing at its path."""

    path: str
    there: bool = False
    writable: bool = False
    why: str = ""
    """Reason why it is no folder, or not writable."""


class Socket(msgspec.Struct, frozen=True):
    """A unix socket."""

    path: str
    there: bool = False
    answers: bool = False
    """True if a process listens."""
    why: str = ""


class RunDir(msgspec.Struct, frozen=True):
    """The supervisor's run directory."""

    folder: Folder
    control: Socket
    workers: Socket
    pid: int | None = None
    """Pid in its lock file."""
    locked: bool = False
    """True if the lock is held: a supervisor lives."""
    options: str = ""
    """Reason why the options of the last supervisor are not known; empty if they are."""
    serving: Mapping[str, int] = {}
    """Pids of workers that hold their pool's lock, by pool."""


class Kubelet(msgspec.Struct, frozen=True):
    """The kubelet's folders."""

    plugins: Folder
    registry: Folder
    socket: Socket
    pod_resources: Socket
    registration: Literal["auto", "kubelet-sock", "plugin-watcher"] = "auto"
    flags: Mapping[str, str] = {}
    """Flags that would locate missing folders, with the folders where they are."""


class Config(msgspec.Struct, frozen=True):
    """The configuration file."""

    path: str
    errors: tuple[str, ...] = ()
    """Errors that make it unusable as a whole."""
    invalid: Mapping[str, tuple[str, ...]] = {}
    """Pools that can't be served, with the errors."""
    warnings: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    """Pools that can be served."""


class NearMiss(msgspec.Struct, frozen=True):
    """A near miss: a key of a selector object that was the first mismatch of some devices."""

    selector: int
    objection: Mismatch
    """Mismatch, with the value of the first of the devices."""
    devices: int


class PoolView(msgspec.Struct, frozen=True):
    """The result of matching for a pool, by its configuration."""

    device_type: str
    candidates: int
    takes: int
    earlier: Mapping[str, int] = {}
    """Devices that match, too, by the earlier pool that has them."""
    refused: Mapping[str, int] = {}
    """Devices that no pool can have, by reason."""
    nearest: NearMiss | None = None
    """Most frequent mismatch of the others."""
    vfio: bool = False
    """True if it has devices on vfio-pci, or selects such."""
    hints: tuple[str, ...] = ()
    """Mistakes in its selectors."""


class Unclaimed(msgspec.Struct, frozen=True):
    """A device without a pool: an NPU, or one that matches except for its driver."""

    device: str
    driver: str
    """Empty if none is bound."""
    wanted: tuple[str, ...] = ()
    """Drivers in the selectors that match otherwise; empty: any driver."""
    wanted_by: tuple[str, ...] = ()


class Unusable(msgspec.Struct, frozen=True):
    """A device that a container could not use."""

    pool: str
    device: str
    why: str


class Group(msgspec.Struct, frozen=True):
    """An IOMMU group with several devices of pools, which only one VM can use at a time."""

    number: str
    devices: tuple[str, ...]
    pools: tuple[str, ...]


class Hardware(msgspec.Struct, frozen=True):
    """The node matched with the file or, if that has errors, with the active configuration."""

    failed: str = ""
    """Reason why there are no facts."""
    problems: tuple[str, ...] = ()
    pools: Mapping[str, PoolView] = {}
    unclaimed: tuple[Unclaimed, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    iommu_groups: int = 0
    npus: int = 0
    """Number of NPUs behind Rebellions' driver that are in a pool."""
    needs_rsd: bool = False
    rsd: bool = True
    """True if /dev/rsd0 exists."""
    tool: bool = True
    """True if the vendor's status tool is a regular file of the host, by one of its names."""
    tools_hidden: bool = False
    """True if the host's programs can't be seen: its /usr is not mounted in this container."""
    groups: tuple[Group, ...] = ()
    """IOMMU groups that several devices of pools share."""
    own_dev: bool = False
    """True if /dev belongs to the container and not to the host."""


class Written(msgspec.Struct, frozen=True):
    """Files of ours that other programs read."""

    cdi: Folder | None = None
    """None: not used."""
    device_info: Folder | None = None
    wrong: Mapping[str, str] = {}
    """Files of ours with a wrong content, with the reason."""


class Process(msgspec.Struct, frozen=True):
    """A process of ours."""

    pid: int
    name: str
    descriptors: int
    descriptors_most: int
    """Its soft limit; 0: unknown."""


class Limits(msgspec.Struct, frozen=True):
    """Limits of the kernel, and their use."""

    processes: tuple[Process, ...] = ()
    inotify_instances: int = 0
    inotify_instances_most: int = 0
    """0: unknown."""
    inotify_watches_most: int = 0
    inotify_error: str = ""
    """Reason why no further instance can be opened."""


class Listing(msgspec.Struct, frozen=True):
    """Texts for a support bundle, by their file name there."""

    files: Mapping[str, str] = {}


class Host(msgspec.Struct, frozen=True):
    """The facts that are collected without the supervisor."""

    run_dir: RunDir | None = None
    kubelet: Kubelet | None = None
    config: Config | None = None
    hardware: Hardware | None = None
    written: Written | None = None
    limits: Limits | None = None
    listing: Listing | None = None
    """Only on request."""


class DoctorFacts(msgspec.Struct, frozen=True):
    """Facts of the host and of the supervisor."""

    host: Host
    within_s: float
    """Time that each section had (seconds)."""
    version: str
    """Version of this program."""
    status: NodeStatus | None = None
    unreachable: str = ""
    """Reason why there is no status."""
    errors: Mapping[str, str] = {}
    """Sections that could not be collected, with the reason."""
    failed: str = ""
    """Reason why the host could not be examined at all."""


class Owners(msgspec.Struct, frozen=True):
    """The devices that a name refers to."""

    what: str = ""
    """Description of the thing with this name (``the IOMMU group 12``); empty if it is unknown."""
    devices: tuple[str, ...] = ()
    """Device IDs."""
