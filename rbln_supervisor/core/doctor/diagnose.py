"""Runs all checks and collects their findings."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rbln_supervisor.core.doctor import config_checks, host_checks, status_checks
from rbln_supervisor.core.doctor.facts import DoctorFacts
from rbln_supervisor.core.doctor.finding import SEVERITIES, Finding

CHECKS: Final[tuple[Callable[[DoctorFacts], Iterator[Finding]], ...]] = (
    host_checks.incomplete_sections,
    host_checks.check_supervisor,
    host_checks.check_kubelet,
    config_checks.check_configuration,
    status_checks.check_problems,
    status_checks.check_pools,
    config_checks.check_hardware,
    status_checks.check_devices,
    host_checks.check_host_files,
    host_checks.check_limits,
)
"""In the order in which a person would check: an earlier problem may be the cause of later ones."""


def diagnose(facts: DoctorFacts) -> tuple[Finding, ...]:
    """Return the findings: errors first, then in the order of the checks, without duplicates."""
    found = dict.fromkeys(one for check in CHECKS for one in check(facts))
    return tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity)))


def is_wrong(findings: Iterable[Finding]) -> bool:
    """Return True if a finding is an error."""
    return any(one.severity == "error" for one in findings)
