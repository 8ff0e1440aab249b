"""What the kubelet counts as healthy, reckoned record by record: to ask it costs next to nothing.

The kubelet shares the machine with what is measured: to count 4,096 devices after each of many
messages would take longer than the plugin does.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_records import Listed, Opened

DEADLINE_S: Final = 120.0


class Roll:
    """A reader of one kubelet's records."""

    def __init__(self, kubelet: SimKubelet) -> None:
        self.last_at = 0.0
        """When the last message came (monotonic seconds), of those that were looked at."""
        self._kubelet = kubelet
        self._read = 0
        self._healthy: dict[str, int] = {}
        self._opened: Counter[str] = Counter()

    def healthy(self, resource: str | None = None) -> int:
        """Devices that pods may have; of all resources, or one."""
        self._catch_up()
        return sum(self._healthy.values()) if resource is None else self._healthy.get(resource, 0)

    def streams(self, resource: str) -> int:
        """How many ListAndWatch streams there have been of a resource."""
        self._catch_up()
        return self._opened[resource]

    def listed_s(self, count: int, since: float) -> float:
        """Seconds from ``since`` to the message by which all resources have so many devices."""
        return self._seconds(lambda: self.healthy() == count, f"{count} devices", since)

    def message_s(self, resource: str, count: int, since: float) -> float:
        """… to that by which a resource has so many devices."""
        return self._seconds(
            lambda: self.healthy(resource) == count, f"{count} of {resource}", since
        )

    def again_s(self, resource: str, streams: int, count: int, since: float) -> float:
        """… to that by which all have so many, and one has had more streams than ``streams``."""
        return self._seconds(
            lambda: self.streams(resource) > streams and self.healthy() == count,
            f"{count} devices, {resource} listed anew",
            since,
        )

    def _seconds(self, condition: Callable[[], bool], what: str, since: float) -> float:
        self._kubelet.wait(lambda _: condition(), DEADLINE_S, what=what)
        return self.last_at - since

    def _catch_up(self) -> None:
        fresh = self._kubelet.records[self._read :]
        if not fresh:
            return
        self._read += len(fresh)
        resources = self._kubelet.resources
        for name in {record.resource for record in fresh}:
            seen = resources.get(name)
            self._healthy[name] = seen.allocatable if seen is not None else 0
        for record in fresh:
            if isinstance(record, Opened):
                self._opened[record.resource] += 1
            elif isinstance(record, Listed):
                self.last_at = record.at
