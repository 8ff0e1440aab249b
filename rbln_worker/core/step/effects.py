"""Effects of a worker's step, as values: the loop carries them out in their order."""

from collections.abc import Mapping

import msgspec

from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.messages import ToSupervisor
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.cdi import Mode
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.health.evidence import Depth
from rbln_worker.core.registration import RegistrationState, Way


class SendMessage(msgspec.Struct, frozen=True):
    """Send a message to the supervisor, if it gets messages; a report only if it has changed."""

    message: ToSupervisor


class StartCheck(msgspec.Struct, frozen=True):
    """Start a health check; each part of its results is a ``CheckCompleted``."""

    pool: PoolSpec
    devices: Mapping[DeviceId, Device]
    depth: Depth


class WriteSpec(msgspec.Struct, frozen=True):
    """Write the pool's CDI spec; ``SpecWritten`` follows."""

    name: str
    text: str


class SettleFiles(msgspec.Struct, frozen=True):
    """Remove files that are not used any more, and save the list; ``FilesSettled`` follows."""

    pool: PoolSpec
    devices: tuple[DeviceId, ...]
    keep_spec: bool


class PublishAnswers(msgspec.Struct, frozen=True):
    """Record changed verdicts, answer calls with this, and send the list if it differs."""

    pool: PoolSpec
    changed: frozenset[DeviceId]
    moved: bool
    """True if the position of a changed device, or the pool, is another one."""
    devices: Mapping[DeviceId, Device]
    answers: Mapping[DeviceId, DeviceAllocation]
    verdicts: Mapping[DeviceId, Verdict]
    before: Mapping[DeviceId, Verdict]
    """Previous verdicts that have changed or were removed."""
    after: Mapping[DeviceId, Verdict]
    """New verdicts."""
    refusals: Mapping[DeviceId, str]
    """Reasons for those of the changed devices that can't be allocated."""
    hidden: frozenset[DeviceId]
    """Devices that are not listed yet."""
    mode: Mode
    restart_refusals: Mapping[str, str] = {}
    """Reasons why containers must not start again with what they were given for these devices."""
    pre_start: bool = False
    """True if the kubelet has to call PreStartContainer before it starts a container."""


class RepeatList(msgspec.Struct, frozen=True):
    """Send the kubelet the list again: that of a predecessor may have arrived after it."""


class RecordRegistration(msgspec.Struct, frozen=True):
    """Record, count and log a change of the registration."""

    before: RegistrationState
    after: RegistrationState
    unlisted_s: float
    """Seconds since registration has been possible."""


class RecordClaims(msgspec.Struct, frozen=True):
    """Record a change of the prepared claims."""

    before: tuple[PreparedClaim, ...]
    after: tuple[PreparedClaim, ...]


class CheckDirs(msgspec.Struct, frozen=True):
    """Check the kubelet's folders; ``DirsChecked`` follows before anything else happens."""

    newer: bool
    """True to search for a younger instance's socket, too."""
    answer: bool
    """True to check that a process listens on the kubelet's socket, too."""
    remove_stale: bool
    """True to remove sockets of the pool that no process serves first."""


class OpenEndpoint(msgspec.Struct, frozen=True):
    """Serve a fresh socket; ``Opened`` or ``NotOpened`` follows."""

    number: int
    way: Way
    unlinks: int = 0
    """The number of an endpoint whose file is removed first, while its streams go on; 0: none."""


class CallRegister(msgspec.Struct, frozen=True):
    """Register an endpoint with the kubelet; ``Accepted`` or ``Rejected`` follows."""

    number: int


class CloseEndpoints(msgspec.Struct, frozen=True):
    """End these endpoints and their streams."""

    numbers: tuple[int, ...]


class End(msgspec.Struct, frozen=True):
    """End the worker. No effect follows."""

    code: Exit
    reason: str
    withdraws: bool = False
    """True if the pool is exported in another way from now on."""


EndpointEffect = CheckDirs | OpenEndpoint | CallRegister | CloseEndpoints
PoolEffect = StartCheck | WriteSpec | SettleFiles | PublishAnswers | RepeatList
Record = RecordRegistration | RecordClaims
Effect = SendMessage | PoolEffect | Record | EndpointEffect | End
