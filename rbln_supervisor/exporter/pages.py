"""The pages of the exporter, each made of one request to the supervisor with a deadline."""

import logging
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

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
from rbln_supervisor.exporter.families import Page, fill_page, fill_processes
from rbln_supervisor.exporter.processes import own_process, supervised_processes
from rbln_supervisor.exporter.readiness import node_readiness

_TEXT: Final = "text/plain; charset=utf-8"
_TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""A format that every Prometheus understands; our metrics lose nothing in it."""

log = logging.getLogger(__name__)


class HttpResponse(NamedTuple):
    """An HTTP response."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Pages:
    """The pages about one supervisor. Used by several threads at once."""

    def __init__(self, run_dir: Path, *, timeout_s: float, device_series: bool) -> None:
        """``timeout_s``: seconds for the supervisor's reply."""
        self._run_dir = run_dir
        self._timeout_s = timeout_s
        self._device_series = device_series
        self._down = ""
        """Reason why it did not reply the last time."""

    def get_page(self, path: str, accept: str) -> HttpResponse:
        """Return the page at a path, in a format that the Accept header names."""
        match path:
            case "/metrics":
                return self._metrics_page(accept)
            case "/healthz":
                return self._healthz_page()
            case "/readyz":
                return self._readyz_page()
            case _:
                return _plain_page(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz")

    def _metrics_page(self, accept: str) -> HttpResponse:
        """Return 200 also without a supervisor: an error page could not contain ``rbln_up 0``."""
        page = Page()
        reply = self._request_reply(Metrics())
        page.add_sample("rbln_up", isinstance(reply, MetricsReply))
        if isinstance(reply, MetricsReply):
            fill_page(page, reply.measures, device_series=self._device_series)
            fill_processes(page, supervised_processes(reply.measures.status, self._run_dir))
        fill_processes(page, own_process())
        # Not the library's choose_encoder: it accepts any version in the header.
        if openmetrics.CONTENT_TYPE_LATEST.partition(";")[0] in accept:
            body: bytes = openmetrics.generate_latest(page)  # type: ignore[no-untyped-call]
            return HttpResponse(HTTPStatus.OK, openmetrics.CONTENT_TYPE_LATEST, body)
        return HttpResponse(HTTPStatus.OK, _TEXT_FORMAT, generate_latest(page))

    def _healthz_page(self) -> HttpResponse:
        match self._request_reply(Status()):
            case StatusReply():
                return _plain_page(HTTPStatus.OK, "ok")
            case other:
                return _plain_page(HTTPStatus.SERVICE_UNAVAILABLE, _refusal_reason(other))

    def _readyz_page(self) -> HttpResponse:
        match self._request_reply(Status()):
            case StatusReply(status=status):
                ready, lines = node_readiness(status)
                code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                return _plain_page(code, *lines)
            case other:
                return _plain_page(HTTPStatus.SERVICE_UNAVAILABLE, _refusal_reason(other))

    def _request_reply(self, request: Request) -> Reply | str:
        """Return the reply, or the reason why there is none."""
        try:
            reply: Reply | str = send_request(self._run_dir, request, timeout_s=self._timeout_s)
        except (UnreachableError, UnreadableAnswerError) as error:
            reply = str(error)
        self._log_outage(
            "" if isinstance(reply, MetricsReply | StatusReply) else _refusal_reason(reply)
        )
        return reply

    def _log_outage(self, down: str) -> None:
        before, self._down = self._down, down
        if down and not before:
            log.warning("the supervisor does not answer", extra={"why": down})
        elif before and not down:
            log.info("the supervisor answers")


def _refusal_reason(reply: Reply | str) -> str:
    """Return the reason why a reply can't be used."""
    match reply:
        case str():
            return reply
        case ErrorReply(errors=errors):
            return f"the supervisor refuses to answer: {'; '.join(errors)}"
        case _:
            return "an answer to another question: are exporter and supervisor of one version?"


def _plain_page(status: HTTPStatus, *lines: str) -> HttpResponse:
    return HttpResponse(status, _TEXT, "".join(f"{line}\n" for line in lines).encode())
