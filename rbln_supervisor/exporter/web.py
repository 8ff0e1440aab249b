"""The HTTP server: a thread a request, few at a time, none for long."""

import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from rbln_supervisor.exporter.pages import Answer

AT_A_TIME: Final = 16
"""Requests that are answered; a further one gets 503 at once."""
REQUEST_WITHIN_S: Final = 10.0
"""A connection that is open for longer is closed, whatever it is still sending or reading."""
SILENT_S: Final = 5.0
"""A client that sends nothing for so long is not waited for."""
_BUSY: Final = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

Get = Callable[[str, str], Answer]
Connection = socket.socket | tuple[bytes, socket.socket]
"""As socketserver types it; of TCP it is a socket."""

log = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Answers GET with what a function makes of path and Accept header."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, get: Get) -> None:
        """Listen; OSError where that can't be. Port 0: any that is free."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        self._slots = threading.BoundedSemaphore(AT_A_TIME)
        self._open: dict[Connection, float] = {}
        self._lock = threading.Lock()  # of a few instructions each time: no descriptor tells less
        super().__init__((host, port), partial(_Request, get))

    def server_bind(self) -> None:
        """Take IPv4 as well where every address is meant."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's own: it asks the resolver for our name, which can take long.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Connection, client_address: object) -> None:
        """Answer in a thread, if one is free."""
        if not self._slots.acquire(blocking=False):
            if isinstance(request, socket.socket):
                with contextlib.suppress(OSError):  # it may have left, too
                    request.send(_BUSY, socket.MSG_DONTWAIT)
            self.shutdown_request(request)
            return
        with self._lock:
            self._open[request] = monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Connection, client_address: object) -> None:
        """In that thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[request]
            self._slots.release()

    def service_actions(self) -> None:
        """Twice a second: end connections that take too long, be it a byte at a time."""
        overdue = monotonic() - REQUEST_WITHIN_S
        with self._lock:
            for request, began in self._open.items():
                if began < overdue and isinstance(request, socket.socket):
                    with contextlib.suppress(OSError):  # it ends by itself just now
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _request: Connection, _client_address: object) -> None:
        """Log a client that left, or an error of ours: neither ends the server."""
        log.error("a request failed", exc_info=sys.exception())


class _Request(BaseHTTPRequestHandler):
    timeout = SILENT_S  # type: ignore[mutable-override]

    def __init__(
        self, get: Get, request: Connection, client_address: object, server: BaseServer
    ) -> None:
        self._get = get
        super().__init__(request, client_address, server)

    def do_GET(self) -> None:
        answer = self._get(urlsplit(self.path).path, self.headers.get("Accept", ""))
        with contextlib.suppress(ConnectionError):  # who asked has gone
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return "rbln-exporter"

    def log_message(self, form: str, *args: object) -> None:
        log.debug(form, *args)
