"""What the log says of devices, held against what the kubelet saw of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from tests.sim.kubelet_records import Closed, Listed, Opened, Record, SeenDevice

_SHOWN: Final = {"device healthy": "Healthy", "device unhealthy": "Unhealthy"}
_ERRORS: Final = ("Traceback (most recent call last)", '"trace": ')
_BRIEF: Final = 5


class Line(msgspec.Struct, frozen=True):
    """A line of the log, as far as it is of interest."""

    who: str
    message: str
    pool: str = ""
    device: str = ""
    why: str = ""
    source: str = ""


_LINE: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)


def errors(lines: Iterable[str]) -> Iterator[str]:
    """Errors that nobody had foreseen."""
    lines = tuple(lines)
    wrong = [n for n, line in enumerate(lines) if any(word in line for word in _ERRORS)]
    for n in wrong[:_BRIEF]:
        yield "an error that nobody handled: " + " ".join(lines[n : n + 30])[:2000]


def untold(lines: Iterable[str], records: Iterable[Record]) -> Iterator[str]:
    """Changes of health that the kubelet saw and the log does not tell of, or tells of twice."""
    told: Counter[tuple[str, str, str]] = Counter()
    last: dict[tuple[str, str], Line] = {}
    for line in _read(lines):
        if line.message == "worker started":
            last = {key: said for key, said in last.items() if key[0] != line.pool}
        if not line.device or not line.message.startswith("device "):
            continue
        key = (line.who, line.device)
        if last.get(key) == line:
            yield f"said twice in a row of {line.device}: {line.message} ({line.why})"
        last[key] = line
        if line.message in _SHOWN:
            told[(*key, _SHOWN[line.message])] += 1
    for change, times in changes(records).items():
        if told[change] < times:
            pool, device, health = change
            yield (
                f"{device} of {pool} became {health} {times} times for the kubelet, "
                f"the log says so {told[change]} times"
            )


def since(path: Path, offset: int) -> tuple[str, ...]:
    """The lines of a log from an offset on."""
    with path.open("rb") as file:
        file.seek(offset)
        return tuple(file.read().decode(errors="replace").splitlines())


def _read(lines: Iterable[str]) -> Iterator[Line]:
    for line in lines:
        try:
            yield _LINE.decode(line)
        except msgspec.DecodeError:  # of no logger: a fault handler's trace
            continue


def changes(records: Iterable[Record]) -> Counter[tuple[str, str, str]]:
    """How often each of them was seen, on the stream that saw it most: two may see the same one."""
    by_stream: dict[str, Counter[tuple[str, str, str]]] = {}
    shown: dict[tuple[str, str], Mapping[str, SeenDevice]] = {}
    for record in records:
        key = (record.resource, record.endpoint)
        match record:
            case Listed(devices=devices):
                for device, before in shown.get(key, {}).items():
                    now = devices.get(device)
                    if now is not None and now.health != before.health:
                        seen = by_stream.setdefault(record.endpoint, Counter())
                        seen[(record.resource, device, now.health)] += 1
                shown[key] = devices
            case Opened() | Closed():
                shown.pop(key, None)
            case _:
                pass
    most: Counter[tuple[str, str, str]] = Counter()
    for each in by_stream.values():
        most |= each
    return most
