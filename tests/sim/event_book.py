"""The files of events of a node, held against the Events that an API server has."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from rbln_supervisor.core.events.series import SERIES_S, micro_time
from rbln_supervisor.events.log import event_files
from rbln_worker.contract.events import Event
from rbln_worker.process.event_file import EventReader

REASONS: Final = {
    ("device", "Unhealthy"): "DeviceUnhealthy",
    ("device", "Healthy"): "DeviceHealthy",
    ("device", "Unknown"): "DeviceNotAnswering",
    ("device", "left"): "DeviceRemoved",
    ("worker", "died"): "PoolWorkerRestarted",
    ("worker", "not started"): "PoolWorkerRestarted",
    ("pool", "invalid"): "PoolInvalid",
    ("reload", "refused"): "ConfigurationRefused",
    ("reload", "done"): "ConfigurationApplied",
}
"""The reason of each event, as docs/reference/events.md has it."""
_ALIKE: Final = {"DeviceFlapping": "DeviceUnhealthy"}
"""A device that fails again and again: the same event, with another reason."""
_OF_DEVICES: Final = re.compile(r"(?:device (?P<one>\S+)|(?P<many>\d+) devices) of (?P<pool>\S+) ")
_OF_POOL: Final = re.compile(r"(?:the worker of )?(\S+/\S+) ")


class Subject(NamedTuple):
    """What an Event says, and of which device."""

    reason: str
    pool: str
    device: str


class EventBook:
    """All events of a node since the first reading."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._reader = EventReader()
        self.due: Counter[Subject] = Counter()
        """How often each has happened."""
        self.unsure: Counter[Subject] = Counter()
        """… at times that an agent may not be able to know: the clock jumped."""
        self._times: defaultdict[str, set[str]] = defaultdict(set)
        """Times by reason."""
        self._devices: defaultdict[str, set[str]] = defaultdict(set)

    def read_new(self, *, sure: bool = True) -> list[Event]:
        """Take and return what has happened since the last reading."""
        events = [one for path in event_files(self._run_dir) for one in self._reader.read_new(path)]
        for event in events:
            if event.kind == "device":
                self._devices[event.pool].add(event.device)
            if reason := REASONS.get((event.kind, event.what)):
                subject = Subject(reason, event.pool, event.device)
                (self.due if sure else self.unsure)[subject] += 1
                self._times[reason].add(micro_time(event.at))
        return events

    def differences(self, objects: Iterable[dict[str, Any]]) -> Iterator[str]:
        """Yield each event that these Events do not count exactly once, and each wrong time."""
        objects = [one for one in objects if _reason(one) in REASONS.values()]
        counted: Counter[Subject] = Counter()
        for one in objects:
            subjects = self._subjects(one)
            if not subjects:
                yield f"an Event whose devices nobody knows: {one}"
            if one["regarding"]["kind"] == "Node":
                counted.update(dict.fromkeys(subjects, _count(one)))
            for at in (one["eventTime"], _last(one)):
                if at not in self._times[_reason(one)]:
                    yield f"nothing of the kind has happened at {at}: {one}"
        for subject in sorted(counted.keys() | self.due.keys()):
            least, times = self.due[subject], counted[subject]
            if not least <= times <= least + self.unsure[subject]:
                yield f"{subject} has happened {least} times, the Events say {times}"
        yield from _doubles(objects)

    def _subjects(self, one: dict[str, Any]) -> tuple[Subject, ...]:
        """Return the subjects of an Event; none if its text does not say them."""
        reason, note = _reason(one), one["note"].replace(" that this pod has", "")
        if not (match := _OF_DEVICES.match(note)):
            named = _OF_POOL.match(note) if reason.startswith("Pool") else None
            return (Subject(reason, named[1] if named else "", ""),)
        pool = match["pool"]
        if match["one"]:
            return (Subject(reason, pool, match["one"]),)
        devices = [device for device in self._devices[pool] if device in note]
        if len(devices) != int(match["many"]):
            return ()
        return tuple(Subject(reason, pool, device) for device in devices)


def _doubles(objects: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield Events that should have been counted in the one before them."""
    last: dict[tuple[str, ...], dict[str, Any]] = {}
    for one in sorted(objects, key=lambda one: str(one["eventTime"])):
        about = one["regarding"]
        key = (about["kind"], about["name"], about.get("uid", ""), one["reason"], one["note"])
        if (former := last.get(key)) and _distance_s(_last(former), one["eventTime"]) < SERIES_S:
            yield f"two series of the same: {former}, {one}"
        last[key] = one


def _distance_s(first: str, second: str) -> float:
    return abs((datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds())


def _reason(one: dict[str, Any]) -> str:
    reason: str = one["reason"]
    return _ALIKE.get(reason, reason)


def _count(one: dict[str, Any]) -> int:
    return int(one.get("series", {}).get("count", 1))


def _last(one: dict[str, Any]) -> str:
    return str(one.get("series", {}).get("lastObservedTime", one["eventTime"]))
