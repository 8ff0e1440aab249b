"""One run: faults on several nodes at once, each mended as soon as its alerts fire."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Final

from tests.e2e.alerts.faults import Fault
from tests.e2e.alerts.nodes import Node
from tests.e2e.prometheus import Prometheus

DEADLINE_S: Final = 240.0
"""Of a run; the longest window is 60 s."""
_POLL_S: Final = 0.25


class Course:
    """How one alert went, in seconds of the monotonic clock."""

    def __init__(self, alert: str, fault: Fault) -> None:
        self.alert = alert
        self.fault = fault
        self.injected = 0.0
        self.fired = 0.0
        self.mended = 0.0
        self.resolved = 0.0
        self.shown: Mapping[str, Any] = {}
        """The alert as it fired first: labels and annotations."""

    @property
    def seconds_to_fire(self) -> float:
        """From the fault to the alert."""
        return self.fired - self.injected

    @property
    def seconds_to_resolve(self) -> float:
        """From the mended fault (for what happened once: from the alert) to its end."""
        return self.resolved - self.mended


class Campaign:
    """Injects faults and follows their alerts."""

    def __init__(
        self, prometheus: Prometheus, nodes: Mapping[str, Node], faults: Sequence[Fault]
    ) -> None:
        self._prometheus = prometheus
        self._nodes = nodes
        self._faults = faults
        self.courses = {
            (alert, fault.node): Course(alert, fault) for fault in faults for alert in fault.alerts
        }
        """By alert and node."""
        self.seen: set[tuple[str, str]] = set()
        """Each alert that ever fired, with its node."""

    def run(self) -> None:
        """Inject and mend all faults, each in a thread; return when all alerts have ended.

        Or DEADLINE_S later: then a course lacks a time.
        """
        end = monotonic() + DEADLINE_S
        with ThreadPoolExecutor(len(self._faults)) as threads:
            driven = [threads.submit(self._drive, fault, end) for fault in self._faults]
            while monotonic() < end and not all(one.resolved for one in self.courses.values()):
                answering = self._prometheus.instances("rbln_up == 1")
                self._follow(self._prometheus.firing_alerts(), answering)
                time.sleep(_POLL_S)
            for one in driven:
                one.result()

    def _drive(self, fault: Fault, end: float) -> None:
        """Inject a fault, wait until its alerts fire, and mend it."""
        courses = [self.courses[alert, fault.node] for alert in fault.alerts]
        for course in courses:
            course.injected = monotonic()
        fault.inject(self._nodes[fault.node])
        while not all(course.fired for course in courses) and monotonic() < end:
            time.sleep(_POLL_S)
        if fault.mend is not None:
            fault.mend(self._nodes[fault.node])
        for course in courses:
            course.mended = monotonic()

    def _follow(self, firing: Sequence[Mapping[str, Any]], answering: frozenset[str]) -> None:
        """An alert of a node without data has not ended: the machine may pause."""
        now = {
            (one["labels"]["alertname"], one["labels"].get("instance", "")): one for one in firing
        }
        self.seen |= now.keys()
        for course in self.courses.values():
            shown = now.get((course.alert, course.fault.node))
            if shown is not None and not course.fired:
                course.fired, course.shown = monotonic(), shown
            elif shown is None and course.mended and not course.resolved:
                ended = course.fired and course.fault.node in answering
                course.resolved = monotonic() if ended else 0.0
