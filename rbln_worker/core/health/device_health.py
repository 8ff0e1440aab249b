"""A device with its newest evidence and its health record."""

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import HealthPolicy, Verdict
from rbln_worker.core.health import carrier, health_record, pcie, state_machine
from rbln_worker.core.health.carrier import PortState
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.core.health.health_record import HealthRecord, Timestamp
from rbln_worker.core.health.observation import GOOD, Bad, Observation, worst_of
from rbln_worker.core.health.pcie import FatalErrors
from rbln_worker.core.health.state_machine import Due


class DeviceHealth(msgspec.Struct, frozen=True):
    """All inputs of a verdict on a device."""

    device: Device
    """The device in the desired state."""
    record: HealthRecord = HealthRecord()
    evidence: Evidence | None = None
    """The result of the last health check; None: not checked since the device was added."""
    fatal: FatalErrors | None = None


def with_desired_state(case: DeviceHealth | None, device: Device, *, listing: bool) -> DeviceHealth:
    """Return the case for a device of a new desired state.

    Another device with the same ID starts without a history; a device that was gone has to be
    checked again. ``listing``: True if the kubelet has the pool's list already.
    """
    if case is None:
        return DeviceHealth(device, HealthRecord(newcomer=listing))
    if device_identity(case.device) != device_identity(device):
        return DeviceHealth(device)  # stays listed, so that its users see the change
    if device.gone is not None:
        return DeviceHealth(device, case.record)
    return msgspec.structs.replace(case, device=device)


def with_evidence(case: DeviceHealth, evidence: Evidence, now: float) -> DeviceHealth:
    """Return the case after a health check, which ended at ``now`` (monotonic seconds)."""
    fatal = pcie.update_fatal_errors(case.fatal, evidence.fatal_errors, now)
    return msgspec.structs.replace(case, evidence=evidence, fatal=fatal)


def desired_state_evidence(
    device: Device, policy: HealthPolicy, ports: tuple[PortState, ...] = ()
) -> Observation:
    """Return the evidence of presence and carrier; ``ports``: the port states of the last check."""
    if device.gone is not None:
        return Bad("sysfs", device.gone)
    if device.held:
        return Bad("pods", device.held)
    return carrier.carrier_evidence(device, ports) if policy.link_state else GOOD


def evaluate_evidence(
    case: DeviceHealth, unfiled: str, policy: HealthPolicy, now: Timestamp, given: str = ""
) -> DeviceHealth:
    """Return the case after all of its evidence was evaluated.

    Args:
        case: the case with the newest desired state and health check.
        unfiled: the reason why the device is missing in the pool's CDI spec; empty if it is not.
        policy: the health policy of the pool.
        now: the time.
        given: the reason why nodes that pods were given prevent its allocation; else empty.
    """
    ports = case.evidence.ports if case.evidence else ()
    said = desired_state_evidence(case.device, policy, ports)
    record = case.record
    if case.evidence is not None:
        seen: list[Observation] = [said, case.evidence.observation]
        if pcie.fatal_errors_expire_at(case.fatal, now.at) is not None:
            seen.append(Bad("aer", "a fatal PCIe error was counted (aer_dev_fatal)"))
        if unfiled:
            seen.append(Bad("cdi", unfiled))
        if given:
            seen.append(Bad("pods", given))
        record = state_machine.step(record, worst_of(seen), now, policy)
    elif said != GOOD:
        record = state_machine.step(record, said, now, policy)
    record = state_machine.step(record, Due(), now, policy)
    return case if record is case.record else msgspec.structs.replace(case, record=record)


def next_evaluation(case: DeviceHealth, now: float) -> float | None:
    """Return the time of the next evaluation (monotonic seconds); None if none is due."""
    times = (case.record.deadline, pcie.fatal_errors_expire_at(case.fatal, now))
    return min((time for time in times if time is not None), default=None)


def device_verdict(case: DeviceHealth) -> Verdict:
    """Return the verdict on the device."""
    return health_record.make_verdict(case.record, (case.evidence and case.evidence.warnings) or ())


def device_identity(device: Device) -> tuple[object, ...]:
    """Return the facts that identify the device; all others of the same device may change."""
    function, part = device.function, device.subfunction
    return (
        *(function.bdf, function.vendor, function.product, function.driver, function.pf),
        None if part is None else (part.name, part.number),
    )


def without_link(device: Device) -> Device:
    """Return the device without links: a change of a link requires no read of its files."""
    return msgspec.structs.replace(device, carriers=())
