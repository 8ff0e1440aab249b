"""What the node's status said of extended resources, and when."""

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple


class Count(NamedTuple):
    """A resource on a node."""

    capacity: int = 0
    allocatable: int = 0

    def __str__(self) -> str:
        return f"{self.allocatable}/{self.capacity}"


class Change(NamedTuple):
    """A status that differs from the one before it."""

    at: float
    """Monotonic seconds, when it arrived here."""
    counts: Mapping[str, Count]

    def of(self, resource: str) -> Count:
        """A resource's count; 0 of 0 where the node does not name it."""
        return self.counts.get(resource, Count())


class History:
    """Every change, in order; other threads wait for the next."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._changes = [Change(monotonic(), {})]

    def add(self, status: Mapping[str, Any]) -> None:
        """Take note of a node's status."""
        capacity, allocatable = status.get("capacity", {}), status.get("allocatable", {})
        counts = {
            name: Count(int(capacity.get(name, 0)), int(allocatable.get(name, 0)))
            for name in {*capacity, *allocatable}
            if "/" in name
        }
        with self._changed:
            if counts != self._changes[-1].counts:
                self._changes.append(Change(monotonic(), counts))
                self._changed.notify_all()

    def now(self, resource: str) -> Count:
        """The latest count."""
        with self._changed:
            return self._changes[-1].of(resource)

    def wait(
        self,
        resource: str,
        condition: Callable[[Count], object],
        deadline_s: float = 15.0,
        *,
        what: str,
        since: float | None = None,
    ) -> float:
        """Wait for a count; when it came (monotonic). AssertionError with all that was seen.

        ``since``: counts that were replaced before this time do not do.
        """

        def found() -> float | None:
            for index, change in enumerate(self._changes):
                last = index + 1 == len(self._changes)
                over = not last and since is not None and self._changes[index + 1].at <= since
                if (last if since is None else not over) and condition(change.of(resource)):
                    return max(change.at, since or change.at)
            return None

        with self._changed:
            if self._changed.wait_for(lambda: found() is not None, deadline_s):
                at = found()
                assert at is not None
                return at
        raise AssertionError(f"not within {deadline_s} s: {what}; seen: {self.story(resource)}")

    def wait_for(
        self, resource: str, allocatable: int, capacity: int, *, since: float | None = None
    ) -> float:
        """Wait until so many of so many devices are allocatable; when that came (monotonic)."""
        wanted = Count(capacity, allocatable)
        return self.wait(
            resource, lambda count: count == wanted, what=f"{resource} {wanted}", since=since
        )

    def wait_quiet(
        self, resource: str, allocatable: int, quiet_s: float, deadline_s: float = 30.0
    ) -> None:
        """Wait until a count has stood for some time from now on."""
        end = monotonic() + deadline_s
        with self._changed:
            began = monotonic()
            while True:
                now = self._changes[-1].of(resource)
                since = max(began, self._since(resource))
                left_s = since + quiet_s - monotonic()
                if now.allocatable == allocatable and left_s <= 0:
                    return
                if monotonic() > end:
                    break
                self._changed.wait(max(left_s, 0.01))
        raise AssertionError(f"not quiet at {allocatable}: {self.story(resource)}")

    def counts(self, resource: str, since: float) -> tuple[Count, ...]:
        """What the resource's count was at a time, and every change since."""
        with self._changed:
            counts = [Count()]
            for change in self._changes:
                if change.at <= since:
                    counts = [change.of(resource)]
                elif change.of(resource) != counts[-1]:
                    counts.append(change.of(resource))
            return tuple(counts)

    def seconds_below(self, resource: str, least: int, since: float) -> float:
        """For how long fewer than ``least`` were allocatable, since a time until now."""
        with self._changed:
            changes = [change for change in self._changes if change.at > since]
        below, begun = 0.0, None
        for change in changes:
            low = change.of(resource).allocatable < least
            if low and begun is None:
                begun = change.at
            elif not low and begun is not None:
                below, begun = below + change.at - begun, None
        return below + (monotonic() - begun if begun is not None else 0.0)

    def _since(self, resource: str) -> float:
        """Since when the resource's count is what it is."""
        since = self._changes[-1]
        for change in reversed(self._changes):
            if change.of(resource) != since.of(resource):
                break
            since = change
        return since.at

    def story(self, resource: str) -> str:
        """All counts of a resource, for people."""
        with self._changed:
            begun = self._changes[0].at
            return ", ".join(f"+{c.at - begun:.2f} s {c.of(resource)}" for c in self._changes)
