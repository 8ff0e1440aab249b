"""A device's case: what was last seen of it, and where it stands."""

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import HealthPolicy, Verdict
from rbln_worker.core.health import machine, pcie, standing, word
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.core.health.machine import Due
from rbln_worker.core.health.observation import GOOD, Bad, Observation, worst
from rbln_worker.core.health.pcie import FatalErrors
from rbln_worker.core.health.standing import Moment, Record


class Case(msgspec.Struct, frozen=True):
    """All that a verdict on a device is made of."""

    device: Device
    """As the supervisor sees it."""
    record: Record = Record()
    evidence: Evidence | None = None
    """Of the last look; None: nobody has looked at it since it came."""
    fatal: FatalErrors | None = None


def told(case: Case | None, device: Device, *, listing: bool) -> Case:
    """The case after the supervisor's word; ``listing``: the kubelet has the pool's list already.

    What is another device by the same ID has no past; one that was gone has to be looked at anew.
    """
    if case is None:
        return Case(device, Record(newcomer=listing))
    if identity(case.device) != identity(device):
        return Case(device)  # listed as it was: its users see that it is another one now
    if device.gone is not None:
        return Case(device, case.record)
    return msgspec.structs.replace(case, device=device)


def looked(case: Case, evidence: Evidence, now: float) -> Case:
    """The case after a look, which ended ``now`` (monotonic seconds)."""
    fatal = pcie.remember(case.fatal, evidence.fatal_errors, now)
    return msgspec.structs.replace(case, evidence=evidence, fatal=fatal)


def judged(case: Case, unfiled: str, policy: HealthPolicy, now: Moment, given: str = "") -> Case:
    """The case after all of its evidence was weighed.

    Args:
        case: with the newest word and the newest look.
        unfiled: why it is not in the pool's CDI spec although it has to be; else empty.
        policy: the pool's.
        now: the time.
        given: why what pods were given stands in the way of giving it out; else empty.
    """
    said = word.observe(case.device, policy, case.evidence.ports if case.evidence else ())
    record = case.record
    if case.evidence is not None:
        seen: list[Observation] = [said, case.evidence.seen]
        if pcie.fatal_until(case.fatal, now.at) is not None:
            seen.append(Bad("aer", "a fatal PCIe error was counted (aer_dev_fatal)"))
        if unfiled:
            seen.append(Bad("cdi", unfiled))
        if given:
            seen.append(Bad("pods", given))
        record = machine.step(record, worst(seen), now, policy)
    elif said != GOOD:
        record = machine.step(record, said, now, policy)
    record = machine.step(record, Due(), now, policy)
    return case if record is case.record else msgspec.structs.replace(case, record=record)


def due(case: Case, now: float) -> float | None:
    """When to judge again without new evidence (monotonic seconds); None: not before there is."""
    times = (machine.due(case.record), pcie.fatal_until(case.fatal, now))
    return min((time for time in times if time is not None), default=None)


def verdict(case: Case) -> Verdict:
    """What is said of the device."""
    return standing.verdict(case.record, (case.evidence and case.evidence.warnings) or ())


def identity(device: Device) -> tuple[object, ...]:
    """What makes it the device that it is; all else about it may change."""
    function, part = device.function, device.subfunction
    return (
        *(function.bdf, function.vendor, function.product, function.driver, function.pf),
        None if part is None else (part.name, part.number),
    )


def without_link(device: Device) -> Device:
    """As far as its files go: a link that falls is no reason to look at them."""
    return msgspec.structs.replace(device, carriers=())
