"""Health evidence from the files of a device."""

from collections.abc import Collection
from enum import Enum
from typing import Final

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import NpuStatuses
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.host_facts import HostFacts, Need
from rbln_worker.core.allocation.providers import rebellions
from rbln_worker.core.health import carrier, driver, npu, pcie
from rbln_worker.core.health.carrier import PortState
from rbln_worker.core.health.observation import Bad, Doubt, Observation, Unknown, worst_of

MAX_QUICKLY_CHECKED: Final = 32
"""Maximum size of a pool with quick checks, which cost about 0.04 ms of CPU a device."""


class Depth(Enum):
    """The depth of a health check."""

    FULL = "full"
    """Read and evaluate all files."""
    IF_CHANGED = "if changed"
    """Read all files; evaluate them if any has changed."""
    VOLATILE = "volatile"
    """Read files that change without a kernel event; check further if any has changed."""


class Evidence(msgspec.Struct, frozen=True):
    """The result of a health check."""

    observation: Observation
    warnings: tuple[str, ...] = ()
    fatal_errors: int | None = None
    """Fatal errors (AER) since the function was added; None if the kernel does not count."""
    ports: tuple[PortState, ...] = ()
    """States of its InfiniBand ports."""


class CheckResult(msgspec.Struct, frozen=True):
    """The result of a health check."""

    evidence: Evidence
    answer: DeviceAllocation | None = None
    """The allocation of the device; None if it is not known."""
    unusable: str = ""
    """The reason why a container could not use it."""


def health_reads(device: Device, answer: DeviceAllocation) -> tuple[Need, ...]:
    """Return the reads that a health check requires, given what a container gets."""
    name = _npu_name(device, answer)
    extra = npu.status_reads(name) if name else ()
    return (*driver.link_reads(device), *pcie.base_reads(device), *carrier.ib_reads(device), *extra)


def further_reads(device: Device, answer: DeviceAllocation, facts: HostFacts) -> tuple[Need, ...]:
    """Return the reads that depend on the results of ``health_reads``."""
    name = _npu_name(device, answer)
    of_npu = npu.version_reads(name, facts) if name else ()
    of_ports = carrier.cable_reads(device, facts)
    return (*pcie.wakeful_reads(device, facts), *of_ports, *of_npu)


def detail_reads(device: Device, pool: PoolSpec, answer: DeviceAllocation) -> tuple[Need, ...]:
    """Return the reads of the details that ResourceSlices advertise; none in other pools."""
    name = _npu_name(device, answer) if pool.dra else None
    return npu.detail_reads(name) if name else ()


def with_details(
    device: Device, pool: PoolSpec, answer: DeviceAllocation, facts: HostFacts
) -> DeviceAllocation:
    """Return the allocation with the results of ``detail_reads``."""
    name = _npu_name(device, answer) if pool.dra else None
    if name is None:
        return answer
    return msgspec.structs.replace(answer, details=npu.read_details(name, facts))


def quick_reads(device: Device, answer: DeviceAllocation, facts: HostFacts) -> tuple[Need, ...]:
    """Return the reads of a quick check, in order: files that change without a kernel event.

    While these facts are unchanged, the evidence is unchanged. Empty for a device that is not an
    NPU and has no InfiniBand ports.
    """
    name = _npu_name(device, answer)
    of_npu = (*pcie.volatile_reads(device), *npu.status_reads(name)) if name else ()
    asked = (*of_npu, *carrier.ib_reads(device), *carrier.cable_reads(device, facts))
    return tuple(need for need in asked if need in facts.all_facts())


def unusable_reason(
    answer: DeviceAllocation, missing: tuple[str, ...], unfit: tuple[str, ...] = ()
) -> str:
    """Return the reason why a container could not use its allocation; empty if it could.

    Args:
        answer: what a container would get.
        missing: host paths of the answer that do not exist.
        unfit: problems of other paths of the answer, each with its path.
    """
    if answer.faults:
        return "; ".join(answer.faults)
    if missing:
        verb = "does" if len(missing) == 1 else "do"
        return "; ".join((f"{', '.join(missing)} {verb} not exist", *unfit))
    return "; ".join(unfit)


def gather_evidence(
    device: Device,
    answer: DeviceAllocation,
    facts: HostFacts,
    *,
    unusable: str,
    unwritten: str,
    statuses: tuple[NpuStatuses, ...] = (),
) -> Evidence:
    """Return the evidence of a whole health check.

    Args:
        device: the device in the desired state.
        answer: what a container would get.
        facts: the results of ``health_reads`` and ``further_reads``.
        unusable: the result of ``unusable_reason``.
        unwritten: the reason why its device-info file is missing; empty if it exists or is not
            required.
        statuses: meaning of status numbers of newer NPU drivers.
    """
    seen: list[Observation] = []
    name = _npu_name(device, answer)
    seen.append(driver.driver_evidence(device, facts))
    seen.append(pcie.config_space(device, facts))
    if name:
        seen.append(npu.status_evidence(name, facts, statuses))
    if unusable:
        seen.append(Doubt("node", unusable))
    if unwritten:
        seen.append(Bad("device-info", unwritten))
    warning = pcie.link_warning(device, facts)
    return Evidence(
        worst_of(seen),
        warnings=(warning,) if warning else (),
        fatal_errors=pcie.fatal_error_count(device, facts),
        ports=carrier.read_port_states(device, facts),
    )


def timeout_evidence(seconds: float) -> Evidence:
    """Return the evidence of a health check that timed out after ``seconds``."""
    return Evidence(Unknown("files", f"its files did not answer within {seconds:g} s"))


def skipped_evidence(hanging: int) -> Evidence:
    """Return the evidence for a device that was not checked because too many checks hang."""
    return Evidence(Unknown("files", f"not checked: {hanging} health checks hang already"))


def needs_quick_checks(devices: Collection[Device]) -> bool:
    """Return True if a pool's devices need quick checks between full checks.

    Files with the status of an NPU or of an InfiniBand port change without a kernel event.
    """
    return len(devices) <= MAX_QUICKLY_CHECKED and any(map(_has_status_files, devices))


def _has_status_files(device: Device) -> bool:
    return rebellions.is_npu(device) or bool(device.network and device.network.ib_ports)


def _npu_name(device: Device, answer: DeviceAllocation) -> str | None:
    return npu.name_of(answer.nodes) if rebellions.is_npu(device) else None
