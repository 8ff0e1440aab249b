"""The exporter's pages, each made of one request to the supervisor with a deadline."""

import logging
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from prometheus_client.registry import Collector

from rbln_supervisor.core.control.protocol import (
    ErrorReply,
    Metrics,
    MetricsReply,
    Reply,
    Request,
    Status,
    StatusReply,
)
from rbln_supervisor.ctl.client import UnreachableError, UnreadableAnswerError, send_request
from rbln_supervisor.exporter.families import Family, Page, fill_page
from rbln_supervisor.exporter.processes import fill_processes
from rbln_supervisor.exporter.readiness import node_readiness

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The answer to a probe."""

    status: HTTPStatus
    lines: tuple[str, ...]


class Pages(Collector):
    """The pages about one supervisor. Used by several threads at once."""

    def __init__(self, run_dir: Path, *, timeout_s: float, device_series: bool) -> None:
        """``timeout_s``: seconds for the supervisor's reply."""
        self._run_dir = run_dir
        self._timeout_s = timeout_s
        self._device_series = device_series
        self._down = ""
        """Reason why it did not reply the last time."""

    def collect(self) -> Iterable[Family]:
        """Return the metrics; without a supervisor ``rbln_up`` is 0."""
        page = Page()
        reply = self._request_reply(Metrics())
        page.add_sample("rbln_up", isinstance(reply, MetricsReply))
        if isinstance(reply, MetricsReply):
            fill_page(page, reply.measures, device_series=self._device_series)
            fill_processes(page, self._run_dir, reply.measures.status)
        else:
            fill_processes(page, self._run_dir, None)
        return page.collect()

    def healthz(self) -> Answer:
        """Return 200 if the supervisor answers."""
        match self._request_reply(Status()):
            case StatusReply():
                return Answer(HTTPStatus.OK, ("ok",))
            case other:
                return Answer(HTTPStatus.SERVICE_UNAVAILABLE, (_refusal_reason(other),))

    def readyz(self) -> Answer:
        """Return 200 if the node is ready, and a line for each pool."""
        match self._request_reply(Status()):
            case StatusReply(status=status):
                ready, lines = node_readiness(status)
                return Answer(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, lines)
            case other:
                return Answer(HTTPStatus.SERVICE_UNAVAILABLE, (_refusal_reason(other),))

    def _request_reply(self, request: Request) -> Reply | str:
        """Return the reply, or the reason why there is none."""
        try:
            reply: Reply | str = send_request(self._run_dir, request, timeout_s=self._timeout_s)
        except (UnreachableError, UnreadableAnswerError) as error:
            reply = str(error)
        down = "" if isinstance(reply, MetricsReply | StatusReply) else _refusal_reason(reply)
        before, self._down = self._down, down
        if down and not before:
            log.warning("the supervisor does not answer", extra={"why": down})
        elif before and not down:
            log.info("the supervisor answers")
        return reply


def _refusal_reason(reply: Reply | str) -> str:
    """Return the reason why a reply can't be used."""
    match reply:
        case str():
            return reply
        case ErrorReply(errors=errors):
            return f"the supervisor refuses to answer: {'; '.join(errors)}"
        case _:
            return "an answer to another question: are exporter and supervisor of one version?"
