"""The real rbln-exporter, as a process, and what it says."""

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.sim.system import REPOSITORY

Labels = frozenset[tuple[str, str]]


class Answer(NamedTuple):
    """What a request came to."""

    status: int
    content_type: str
    body: str


class Exporter:
    """A running exporter."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self.port = 0

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text()

    def get(self, path: str, accept: str = "", timeout_s: float = 20.0) -> Answer:
        """One GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path, headers={"Accept": accept} if accept else {})
            reply = connection.getresponse()
            return Answer(
                reply.status, reply.headers.get("Content-Type", ""), reply.read().decode()
            )
        finally:
            connection.close()

    def scrape(self) -> "Scrape":
        """The samples of /metrics."""
        answer = self.get("/metrics")
        assert answer.status == 200, answer
        return Scrape(answer.body)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self._process.terminate()
        return self._process.wait(10.0)


class Scrape:
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        self.samples: dict[tuple[str, Labels], float] = {
            (one.name, frozenset(one.labels.items())): one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """Of the one sample with these labels among others; None where there is none."""
        found = [
            value
            for (known, has), value in self.samples.items()
            if known == name and labels.items() <= dict(has).items()
        ]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else None

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples with these labels among others."""
        return sum(
            value
            for (known, has), value in self.samples.items()
            if known == name and labels.items() <= dict(has).items()
        )


@contextmanager
def exporting(
    run_dir: Path, home: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> Iterator[Exporter]:
    """An exporter of a run directory, with its log in a folder, and environment variables."""
    log = home / "exporter.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(run_dir, *arguments),
            cwd=REPOSITORY,
            env={**os.environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    exporter = Exporter(process, log)
    try:
        end = monotonic() + 20.0
        while "serving" not in (said := log.read_text()):
            assert process.poll() is None, said
            assert monotonic() < end, f"not serving\n{said}"
            sleep(0.02)
        exporter.port = int(said.partition("port=")[2].split()[0])
        yield exporter
    finally:
        process.kill()
        process.wait()


def command(run_dir: Path, *arguments: str) -> Sequence[str | Path]:
    """The command that starts it."""
    own = () if "--listen" in arguments else ("--listen", "127.0.0.1:0")
    return (
        *(sys.executable, "-m", "rbln_supervisor.exporter", "--run-dir", run_dir),
        *own,
        *arguments,
    )
