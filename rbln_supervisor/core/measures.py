"""What is measured on a node: the answer to Metrics, made of the status and of counters.

A pool's ``Figures`` are its workers' and go on over their lives and the supervisor's; all other
counters begin with the supervisor.
"""

from collections.abc import Mapping

import msgspec

from rbln_supervisor.core.loss import Cause
from rbln_supervisor.core.status import NodeStatus
from rbln_worker.contract.figures import Figures, Histogram


class Lost(msgspec.Struct, frozen=True):
    """Allocatable that was lost for one reason (core/loss.py says what counts)."""

    cause: Cause
    source: str
    seconds: float
    """Device-seconds."""


class PoolMeasures(msgspec.Struct, frozen=True):
    """Of a pool."""

    figures: Figures | None = None
    """None where its worker, an earlier supervisor's, has not said them yet."""
    restarts: Mapping[str, int] = {}
    """Of its worker, after ends that nobody had asked for, by cause: ``SIGKILL``, ``exit-70``,
    ``hang``, ``not-started``, ``unknown`` (an adopted one's)."""
    adoptions: int = 0
    """Workers that this supervisor took over from an earlier one."""
    latency: Histogram = Histogram()
    """From the kernel's first word of a change to the message that tells the worker of it."""
    lost: tuple[Lost, ...] = ()


class LookMeasures(msgspec.Struct, frozen=True):
    """Of looks at the node."""

    took: Histogram = Histogram()
    """From the fork to the end, also of those that failed."""
    failed: int = 0
    cpu_s: float = 0.0
    """Their processes' CPU time."""


class NodeMeasures(msgspec.Struct, frozen=True):
    """Of the node."""

    looks: LookMeasures = LookMeasures()
    kubelet_restarts: int = 0
    reloads: Mapping[str, int] = {}
    """By outcome: ``ok``, ``refused``, ``rolled-back``."""
    config_refused: bool = False
    """The configuration file is not what is served."""
    kernel_events: Mapping[str, int] = {}
    """That concern devices, by kind: ``uevent``, ``link``."""
    kernel_events_lost: Mapping[str, int] = {}
    """Times that the kernel dropped some, likewise."""
    dropped: Mapping[str, int] = {}
    """Frames that could not be read or sent, by what they were."""


class Measures(msgspec.Struct, frozen=True):
    """All of it."""

    status: NodeStatus
    node: NodeMeasures
    pools: Mapping[str, PoolMeasures]
    """The configured and valid ones, by the resource's whole name."""
