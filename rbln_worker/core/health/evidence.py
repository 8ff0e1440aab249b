"""What a look at a device's files found, as far as its health goes."""

from collections.abc import Collection
from typing import Final

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import NpuStatuses
from rbln_worker.core.answer import DeviceAnswer
from rbln_worker.core.facts import Facts, Need
from rbln_worker.core.health import carrier, driver, npu, pcie
from rbln_worker.core.health.carrier import PortState
from rbln_worker.core.health.observation import Bad, Doubt, Observation, Unknown, worst
from rbln_worker.core.providers import rebellions

GLANCED_AT_MOST: Final = 32
"""A bigger pool is looked at less often: a glance costs some 0.04 ms of CPU a device."""


class Evidence(msgspec.Struct, frozen=True):
    """What a look found."""

    seen: Observation
    warnings: tuple[str, ...] = ()
    fatal_errors: int | None = None
    """As counted since the function came (AER); None where nobody counts."""
    ports: tuple[PortState, ...] = ()
    """Of its InfiniBand ports."""


def needs(device: Device, answer: DeviceAnswer) -> tuple[Need, ...]:
    """What has to be read to judge a device, once it is known what containers get of it."""
    name = _npu(device, answer)
    of_npu = npu.needs(name) if name else ()
    return (*driver.needs(device), *pcie.needs(device), *carrier.needs(device), *of_npu)


def further_needs(device: Device, answer: DeviceAnswer, facts: Facts) -> tuple[Need, ...]:
    """What has to be read, and may be, after these."""
    name = _npu(device, answer)
    of_npu = npu.further_needs(name, facts) if name else ()
    of_ports = carrier.further_needs(device, facts)
    return (*pcie.further_needs(device, facts), *of_ports, *of_npu)


def told_by_nobody(device: Device, answer: DeviceAnswer, facts: Facts) -> tuple[Need, ...]:
    """What a look read and what changes without a word of the kernel, in order of reading.

    As long as these facts are what they were, so is the evidence. None for what is neither an NPU
    nor has InfiniBand ports.
    """
    name = _npu(device, answer)
    of_npu = (*pcie.glance_needs(device), *npu.needs(name)) if name else ()
    asked = (*of_npu, *carrier.needs(device), *carrier.further_needs(device, facts))
    return tuple(need for need in asked if need in facts.all())


def unusable(answer: DeviceAnswer, missing: tuple[str, ...], unfit: tuple[str, ...] = ()) -> str:
    """Why a container could not use what it would get; empty where it could.

    Args:
        answer: what a container would get.
        missing: which of the answer's host paths do not exist.
        unfit: what is wrong with others of them, each with its path.
    """
    if answer.faults:
        return "; ".join(answer.faults)
    if missing:
        verb = "does" if len(missing) == 1 else "do"
        return "; ".join((f"{', '.join(missing)} {verb} not exist", *unfit))
    return "; ".join(unfit)


def gather(
    device: Device,
    answer: DeviceAnswer,
    facts: Facts,
    *,
    unusable: str,
    unwritten: str,
    statuses: tuple[NpuStatuses, ...] = (),
) -> Evidence:
    """All of it.

    Args:
        device: as the supervisor sees it.
        answer: what a container would get.
        facts: what was read of ``needs`` and ``further_needs``.
        unusable: as above.
        unwritten: why its device-info file is not there; empty where it is, or none is wanted.
        statuses: what newer drivers of NPUs mean by their numbers.
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
    """A look that did not end in time."""
    return Evidence(Unknown("files", f"its files did not answer within {seconds:g} s"))


def not_asked(hanging: int) -> Evidence:
    """No look, because too many hang."""
    return Evidence(Unknown("files", f"not looked at: {hanging} looks hang already"))


def changes_untold(devices: Collection[Device]) -> bool:
    """Whether to glance at a pool's devices between two checks of all of them.

    The status of an NPU is a file that tells nobody of its changes, and so is an InfiniBand port's.
    """
    return len(devices) <= GLANCED_AT_MOST and any(map(_changes_untold, devices))


def _changes_untold(device: Device) -> bool:
    return rebellions.is_npu(device) or bool(device.network and device.network.ib_ports)


def _npu(device: Device, answer: DeviceAnswer) -> str | None:
    return npu.name_of(answer.nodes) if rebellions.is_npu(device) else None
