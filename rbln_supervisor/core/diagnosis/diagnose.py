"""Runs all checks and collects their findings."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rbln_supervisor.core.diagnosis import around, fit, within
from rbln_supervisor.core.diagnosis.facts import Facts
from rbln_supervisor.core.diagnosis.finding import SEVERITIES, Finding

CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    around.unseen,
    around.supervisor,
    around.kubelet,
    fit.configuration,
    within.problems,
    within.pools,
    fit.hardware,
    within.devices,
    around.written,
    around.limits,
)
"""In the order in which a person would check: an earlier problem may be the cause of later ones."""


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return the findings: errors first, then in the order of the checks, without duplicates."""
    found = dict.fromkeys(one for check in CHECKS for one in check(facts))
    return tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity)))


def is_wrong(findings: Iterable[Finding]) -> bool:
    """Return True if a finding is an error."""
    return any(one.severity == "error" for one in findings)
