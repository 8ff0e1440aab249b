"""Health evidence from the files of a device."""

from collections.abc import Collection
from typing import Final

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import NpuStatuses
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.host_facts import HostFacts, Need
from rbln_worker.core.allocation.providers import rebellions
from rbln_worker.core.health import carrier, driver, npu, pcie
from rbln_worker.core.health.carrier import PortState
from rbln_worker.core.health.observation import Bad, Doubt, Observation, Unknown, worst

GLANCED_AT_MOST: Final = 32
"""Maximum size of a pool with quick checks, which cost about 0.04 ms of CPU a device."""


class Evidence(msgspec.Struct, frozen=True):
    """The result of a health check."""

    seen: Observation
    warnings: tuple[str, ...] = ()
    fatal_errors: int | None = None
    """Fatal errors (AER) since the function was added; None if the kernel does not count."""
    ports: tuple[PortState, ...] = ()
    """States of its InfiniBand ports."""


def needs(device: Device, answer: DeviceAllocation) -> tuple[Need, ...]:
    """Return the reads that a health check requires, given what a container gets."""
    name = _npu(device, answer)
    of_npu = npu.needs(name) if name else ()
    return (*driver.needs(device), *pcie.needs(device), *carrier.needs(device), *of_npu)


def further_needs(device: Device, answer: DeviceAllocation, facts: HostFacts) -> tuple[Need, ...]:
    """Return the reads that depend on the results of ``needs``."""
    name = _npu(device, answer)
    of_npu = npu.further_needs(name, facts) if name else ()
    of_ports = carrier.further_needs(device, facts)
    return (*pcie.further_needs(device, facts), *of_ports, *of_npu)


def told_by_nobody(device: Device, answer: DeviceAllocation, facts: HostFacts) -> tuple[Need, ...]:
    """Return the reads of a quick check, in order: files that change without a kernel event.

    While these facts are unchanged, the evidence is unchanged. Empty for a device that is not an
    NPU and has no InfiniBand ports.
    """
    name = _npu(device, answer)
    of_npu = (*pcie.glance_needs(device), *npu.needs(name)) if name else ()
    asked = (*of_npu, *carrier.needs(device), *carrier.further_needs(device, facts))
    return tuple(need for need in asked if need in facts.all())


def unusable(
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


def gather(
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
        facts: the results of ``needs`` and ``further_needs``.
        unusable: the result of ``unusable``.
        unwritten: the reason why its device-info file is missing; empty if it exists or is not
            required.
        statuses: meaning of status numbers of newer NPU drivers.
    """
    seen: list[Observation] = []
    name = _npu(device, answer)
    seen.append(driver.observe(device, facts))
    seen.append(pcie.config_space(device, facts))
    if name:
        seen.append(npu.observe(name, facts, statuses))
    if unusable:
        seen.append(Doubt("node", unusable))
    if unwritten:
        seen.append(Bad("device-info", unwritten))
    warning = pcie.link_warning(device, facts)
    return Evidence(
        worst(seen),
        warnings=(warning,) if warning else (),
        fatal_errors=pcie.fatal_total(device, facts),
        ports=carrier.ports(device, facts),
    )


def silent(seconds: float) -> Evidence:
    """Return the evidence of a health check that timed out after ``seconds``."""
    return Evidence(Unknown("files", f"its files did not answer within {seconds:g} s"))


def not_asked(hanging: int) -> Evidence:
    """Return the evidence for a device that was not checked because too many checks hang."""
    return Evidence(Unknown("files", f"not looked at: {hanging} looks hang already"))


def changes_untold(devices: Collection[Device]) -> bool:
    """Return True if a pool's devices need quick checks between full checks.

    Files with the status of an NPU or of an InfiniBand port change without a kernel event.
    """
    return len(devices) <= GLANCED_AT_MOST and any(map(_changes_untold, devices))


def _changes_untold(device: Device) -> bool:
    return rebellions.is_npu(device) or bool(device.network and device.network.ib_ports)


def _npu(device: Device, answer: DeviceAllocation) -> str | None:
    return npu.name_of(answer.nodes) if rebellions.is_npu(device) else None
