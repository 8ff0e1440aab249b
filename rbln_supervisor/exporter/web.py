"""The HTTP server: that of prometheus_client, a thread for each request, and two more routes."""

import logging
import socket
import sys
from collections.abc import Iterable
from http import HTTPStatus
from socketserver import TCPServer
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app
from prometheus_client.registry import CollectorRegistry

from rbln_supervisor.exporter.pages import Pages

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


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
