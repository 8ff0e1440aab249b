"""The pages of the exporter, each made of one question to the supervisor with a deadline."""

import logging
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.exposition import CONTENT_TYPE_LATEST, choose_encoder, generate_latest

from rbln_supervisor.core.commands import Measured, Metrics, Node, Refused, Reply, Request, Status
from rbln_supervisor.ctl.client import UnreachableError, UnreadableAnswerError, ask
from rbln_supervisor.exporter.families import Page, fill, fill_processes
from rbln_supervisor.exporter.processes import ourselves, visible
from rbln_supervisor.exporter.readiness import readiness

_TEXT: Final = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a client gets."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Pages:
    """The pages about one supervisor. Used by several threads at once."""

    def __init__(self, run_dir: Path, *, timeout_s: float, device_series: bool) -> None:
        """``timeout_s``: how long the supervisor may take to answer."""
        self._run_dir = run_dir
        self._timeout_s = timeout_s
        self._device_series = device_series
        self._down = ""
        """Why it did not answer the last time."""

    def get(self, path: str, accept: str) -> Answer:
        """The page at a path, in a format of those that an Accept header names."""
        match path:
            case "/metrics":
                return self._metrics(accept)
            case "/healthz":
                return self._healthz()
            case "/readyz":
                return self._readyz()
            case _:
                return _plain(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz")

    def _metrics(self, accept: str) -> Answer:
        """200 also without a supervisor: what is not taken can't say ``rbln_up 0``."""
        page = Page()
        reply = self._ask(Metrics())
        page.put("rbln_up", isinstance(reply, Measured))
        if isinstance(reply, Measured):
            fill(page, reply.measures, device_series=self._device_series)
            fill_processes(page, visible(reply.measures.status, self._run_dir))
        fill_processes(page, ourselves())
        try:
            encode, content_type = choose_encoder(accept)
        except ValueError:  # a version that is no version
            encode, content_type = generate_latest, CONTENT_TYPE_LATEST
        return Answer(HTTPStatus.OK, content_type, encode(page))

    def _healthz(self) -> Answer:
        reply = self._ask(Status())
        if isinstance(reply, Node):
            return _plain(HTTPStatus.OK, "ok")
        return _plain(HTTPStatus.SERVICE_UNAVAILABLE, reply)

    def _readyz(self) -> Answer:
        reply = self._ask(Status())
        if not isinstance(reply, Node):
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE, reply)
        ready, lines = readiness(reply.status)
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _plain(status, *lines)

    def _ask(self, request: Request) -> Measured | Node | str:
        """The answer, or why there is none."""
        try:
            reply = ask(self._run_dir, request, timeout_s=self._timeout_s)
        except (UnreachableError, UnreadableAnswerError) as error:
            answer: Measured | Node | str = str(error)
        else:
            answer = _useful(reply)
        self._note(answer if isinstance(answer, str) else "")
        return answer

    def _note(self, down: str) -> None:
        before, self._down = self._down, down
        if down and not before:
            log.warning("the supervisor does not answer", extra={"why": down})
        elif before and not down:
            log.info("the supervisor answers")


def _useful(reply: Reply) -> Measured | Node | str:
    match reply:
        case Measured() | Node():
            return reply
        case Refused(errors=errors):
            return f"the supervisor refuses to answer: {'; '.join(errors)}"
        case _:
            return "an answer to another question: are exporter and supervisor of one version?"


def _plain(status: HTTPStatus, *lines: str) -> Answer:
    return Answer(status, _TEXT, "".join(f"{line}\n" for line in lines).encode())
