"""What was found out about a node, before anybody says what it means.

The sections are gathered independently, each within a time; one that was not is None.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from rbln_supervisor.core.selecting import Objection
from rbln_supervisor.core.status import NodeStatus


class Folder(msgspec.Struct, frozen=True):
    """A folder, or what is in its place."""

    path: str
    there: bool = False
    writable: bool = False
    why: str = ""
    """Why it is no folder, or can't be written to."""


class Socket(msgspec.Struct, frozen=True):
    """A unix socket."""

    path: str
    there: bool = False
    answers: bool = False
    """Somebody listens."""
    why: str = ""


class RunDir(msgspec.Struct, frozen=True):
    """The supervisor's folder."""

    folder: Folder
    control: Socket
    workers: Socket
    pid: int | None = None
    """Who wrote himself into its lock."""
    locked: bool = False
    """Somebody holds it: a supervisor lives."""
    options: str = ""
    """Why the options of the last supervisor are not known; empty where they are."""
    refusing: bool = False
    """Its sockets are hidden, because few descriptors are left."""
    serving: Mapping[str, int] = {}
    """The pids of workers that hold their pool's lock, by pool."""


class Kubelet(msgspec.Struct, frozen=True):
    """The kubelet's folders."""

    plugins: Folder
    registry: Folder
    socket: Socket
    pod_resources: Socket
    registration: Literal["auto", "kubelet-sock", "plugin-watcher"] = "auto"
    flags: Mapping[str, str] = {}
    """Flags that would find what is missing here, with the folders where it is."""


class Config(msgspec.Struct, frozen=True):
    """The configuration file."""

    path: str
    errors: tuple[str, ...] = ()
    """Why it can't be used at all."""
    invalid: Mapping[str, tuple[str, ...]] = {}
    """Pools that can't be served, and why."""
    warnings: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    """Those that can be served."""


class Miss(msgspec.Struct, frozen=True):
    """A key of a selector object that turned devices away before any other key did."""

    selector: int
    objection: Objection
    """With what the first of the devices has."""
    devices: int


class PoolView(msgspec.Struct, frozen=True):
    """What a pool gets of the node, by its configuration."""

    device_type: str
    candidates: int
    takes: int
    earlier: Mapping[str, int] = {}
    """Devices that it wants, too, by the pool before it that has them."""
    refused: Mapping[str, int] = {}
    """Devices that no pool can have, by why."""
    nearest: Miss | None = None
    """What turned most of the others away."""
    vfio: bool = False
    """It has devices on vfio-pci, or asks for such."""
    hints: tuple[str, ...] = ()
    """Mistakes in its selectors."""


class Unclaimed(msgspec.Struct, frozen=True):
    """An NPU, or a device that all but its driver speaks for, which no pool has."""

    device: str
    driver: str
    """Empty where none is bound."""
    wanted: tuple[str, ...] = ()
    """The drivers that pools ask for which want it but for that; none: they want any."""
    wanted_by: tuple[str, ...] = ()


class Unusable(msgspec.Struct, frozen=True):
    """A device that a container could not use."""

    pool: str
    device: str
    why: str


class Group(msgspec.Struct, frozen=True):
    """An IOMMU group with several devices of pools, which only one VM can have at a time."""

    number: str
    devices: tuple[str, ...]
    pools: tuple[str, ...]


class Hardware(msgspec.Struct, frozen=True):
    """The node as the file sees it; where that has errors, the configuration that is served."""

    failed: str = ""
    """Why nothing is known of it."""
    problems: tuple[str, ...] = ()
    pools: Mapping[str, PoolView] = {}
    unclaimed: tuple[Unclaimed, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    iommu_groups: int = 0
    npus: int = 0
    """Behind Rebellions' driver, and in a pool."""
    needs_rsd: bool = False
    rsd: bool = True
    """/dev/rsd0 is there."""
    tool: bool = True
    """The vendor's status tool is a regular file of the host's, by one name or the other."""
    tools_hidden: bool = False
    """The host's programs can't be seen: its /usr is not mounted in this container."""
    groups: tuple[Group, ...] = ()
    """IOMMU groups that several devices of pools share."""
    own_dev: bool = False
    """/dev is the container's own and not the host's."""


class Written(msgspec.Struct, frozen=True):
    """Files that others read of us."""

    cdi: Folder | None = None
    """None: not used."""
    device_info: Folder | None = None
    wrong: Mapping[str, str] = {}
    """Files of ours that are not what they should be, and why."""


class Process(msgspec.Struct, frozen=True):
    """A process of ours."""

    pid: int
    name: str
    descriptors: int
    descriptors_most: int
    """Its soft limit; 0: unknown."""


class Limits(msgspec.Struct, frozen=True):
    """What the kernel lets us have."""

    processes: tuple[Process, ...] = ()
    inotify_instances: int = 0
    inotify_instances_most: int = 0
    """0: unknown."""
    inotify_watches_most: int = 0
    inotify_error: str = ""
    """Why one more instance can't be had."""


class Listing(msgspec.Struct, frozen=True):
    """Texts for a support bundle, by the name that they have there."""

    files: Mapping[str, str] = {}


class Host(msgspec.Struct, frozen=True):
    """All that is seen without asking the supervisor."""

    run_dir: RunDir | None = None
    kubelet: Kubelet | None = None
    config: Config | None = None
    hardware: Hardware | None = None
    written: Written | None = None
    limits: Limits | None = None
    listing: Listing | None = None
    """Only where it is asked for."""


class Facts(msgspec.Struct, frozen=True):
    """All of it."""

    host: Host
    within_s: float
    """What each section had."""
    version: str
    """Ours."""
    status: NodeStatus | None = None
    unreachable: str = ""
    """Why there is no status."""
    errors: Mapping[str, str] = {}
    """Sections that could not be gathered, and why."""
    failed: str = ""
    """Why the host could not be examined at all."""


class Owners(msgspec.Struct, frozen=True):
    """The devices that a name refers to."""

    what: str = ""
    """The thing that has this name (``the IOMMU group 12``); empty where none is known."""
    devices: tuple[str, ...] = ()
    """IDs."""
