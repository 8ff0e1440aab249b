"""QEMU's monitor, as the guest has it: the machine is told to change from inside of it."""

import json
import os
import select
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, Self

PORTS: Final = Path("/sys/class/virtio-ports")
ANSWER_DEADLINE_S: Final = 20.0


class Refused(Exception):
    """QEMU's own words on why it didn't."""


class Qmp:
    """The monitor (QEMU, docs/interop/qmp-spec): one user at a time."""

    def __init__(self) -> None:
        self._port = os.open(_port("qmp"), os.O_RDWR | os.O_NONBLOCK)
        self._text = b""
        self._events: list[Mapping[str, object]] = []
        self._asked = 0
        with suppress(Refused):  # an earlier user of the port did it: once is enough
            self("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        os.close(self._port)

    def __call__(self, command: str, **arguments: object) -> object:
        """Run a command; its answer. Underscores of the names of arguments are dashes."""
        self._asked += 1
        mark = f"{os.getpid()}-{self._asked}"
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        question = {"execute": command, "arguments": named, "id": mark}
        os.write(self._port, json.dumps(question).encode() + b"\n")
        end = monotonic() + ANSWER_DEADLINE_S
        while True:
            said = self._next(end)
            if "event" in said:
                self._events.append(said)
            elif said.get("id") == mark:
                match said:
                    case {"error": {"desc": str(why)}}:
                        raise Refused(why)
                    case _:
                        return said.get("return")

    def wait(self, event: str, device: str) -> None:
        """Wait for what QEMU says of a device by itself."""
        end = monotonic() + ANSWER_DEADLINE_S
        while True:
            for said in self._events:
                match said:
                    case {"event": name, "data": {"device": who}} if (name, who) == (event, device):
                        self._events.remove(said)
                        return
            said = self._next(end)
            if "event" in said:
                self._events.append(said)

    def _next(self, end: float) -> Mapping[str, object]:
        while b"\n" not in self._text:
            left = end - monotonic()
            if left <= 0 or not select.select([self._port], [], [], left)[0]:
                raise TimeoutError("no answer from QEMU's monitor")
            self._text += os.read(self._port, 65536)
        line, self._text = self._text.split(b"\n", 1)
        said = json.loads(line)
        assert isinstance(said, dict), line
        return said


def _port(name: str) -> Path:
    for port in PORTS.iterdir():
        if (port / "name").read_text().strip() == name:
            return Path("/dev", port.name)
    raise LookupError(f"no port {name} below {PORTS}")
