"""The exporter's pages, each made of one request to the supervisor, and their HTTP server.

The server is that of prometheus_client, a thread for each request, with two more routes.
"""

import logging
import socket
import sys
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Final, TypeVar
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app
from prometheus_client.registry import Collector, CollectorRegistry

from rbln_supervisor.core.control import protocol
from rbln_supervisor.ctl.client import request_reply
from rbln_supervisor.ctl.command import CommandError
from rbln_supervisor.exporter.families import Family, Page, fill_page
from rbln_supervisor.exporter.processes import fill_processes

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

TIMEOUT_S: Final = 2.0
"""Seconds: a supervisor replies within one loop iteration, some milliseconds."""

log = logging.getLogger(__name__)

_Expected = TypeVar("_Expected", bound=protocol.Reply)


class Pages(Collector):
    """The pages about one supervisor. Used by several threads at once."""

    def __init__(self, run_dir: Path, *, device_series: bool) -> None:
        """``device_series``: True: also series of each device."""
        self._run_dir = run_dir
        self._device_series = device_series
        self._down = ""
        """Reason why it did not reply the last time."""

    def collect(self) -> Iterable[Family]:
        """Return the metrics; without a supervisor ``rbln_up`` is 0."""
        page = Page()
        reply = self._request_reply(protocol.Metrics(), protocol.MetricsReply)
        measures = None if isinstance(reply, str) else reply.measures
        page.add_sample("rbln_up", measures is not None)
        if measures is not None:
            fill_page(page, measures, device_series=self._device_series)
        fill_processes(page, self._run_dir, measures.status if measures else None)
        return page.collect()

    def answer_probe(self, *, until_ready: bool) -> tuple[HTTPStatus, tuple[str, ...]]:
        """Return 200 if the supervisor answers, and, with ``until_ready``, if the node is ready."""
        reply = self._request_reply(protocol.Status(), protocol.StatusReply)
        if isinstance(reply, str):
            return HTTPStatus.SERVICE_UNAVAILABLE, (reply,)
        if until_ready and (reasons := reply.status.unready_reasons):
            return HTTPStatus.SERVICE_UNAVAILABLE, reasons
        return HTTPStatus.OK, ("ok",)

    def _request_reply(
        self, request: protocol.Request, expected: type[_Expected]
    ) -> _Expected | str:
        """Return the reply, or the reason why there is none."""
        down = ""
        reply: _Expected | str
        try:
            reply = request_reply(self._run_dir, request, expected, timeout_s=TIMEOUT_S)
        except CommandError as error:
            reply = down = "; ".join(error.lines)
        before, self._down = self._down, down
        if down and not before:
            log.warning("the supervisor does not answer", extra={"why": down})
        elif before and not down:
            log.info("the supervisor answers")
        return reply


class Server(ThreadingWSGIServer):
    """An HTTP server of the pages of one supervisor."""

    request_queue_size = 64

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        """Listen. Raises OSError. Port 0: any free port."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self.set_app(_make_app(pages))

    def server_bind(self) -> None:
        """Listen on IPv4, too, if every address is meant."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's method: it resolves our name, which can take long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Log an internal error; it does not end the server."""
        error = sys.exception()
        if not isinstance(error, OSError):  # a client that is gone, or silent for too long
            log.error("a request failed", exc_info=error)


class _Handler(WSGIRequestHandler):
    timeout = 5.0  # type: ignore[mutable-override]  # seconds to wait for a client's data

    def log_message(self, form: str, *args: object) -> None:
        log.debug(form, *args)


def _make_app(pages: Pages) -> "WSGIApplication":
    registry = CollectorRegistry()
    registry.register(pages)
    metrics: WSGIApplication = make_wsgi_app(registry)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)
            case "/healthz":
                status, lines = pages.answer_probe(until_ready=False)
            case "/readyz":
                status, lines = pages.answer_probe(until_ready=True)
            case _:
                status, lines = HTTPStatus.NOT_FOUND, ("there are /metrics, /healthz and /readyz",)
        start_response(f"{status} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{line}\n".encode() for line in lines]

    return answer
