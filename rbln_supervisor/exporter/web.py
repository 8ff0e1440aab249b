"""The HTTP server: a thread a request, few at a time, none for long."""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from rbln_supervisor.exporter.pages import Answer

AT_A_TIME: Final = 16
"""Requests that are answered; a further one gets 503 at once."""
REQUEST_WITHIN_S: Final = 10.0
"""A connection that is open for longer is closed, whatever it is still sending or reading."""
_SILENT_S: Final = 5.0
_BUSY: Final = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

log = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Answers GET with what a function makes of path and Accept header."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, get: Callable[[str, str], Answer]) -> None:
        """Listen; OSError where that can't be. Port 0: any that is free."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.get = get
        self._slots = threading.BoundedSemaphore(AT_A_TIME)
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        """Take IPv4 as well where every address is meant."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's own: it asks the resolver for our name, which can take long.
        socket.SocketType.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if one is free."""
        if not self._slots.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        with self._lock:
            self._open[request] = monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In that thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)
            self._slots.release()

    def service_actions(self) -> None:
        """Every half second: end connections that take too long, a byte at a time."""
        overdue = monotonic() - REQUEST_WITHIN_S
        with self._lock:
            for request, began in self._open.items():
                if began < overdue:
                    with contextlib.suppress(OSError):  # it ends by itself just now
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left, or an error of ours: neither ends the server."""
        log.warning("a request failed", exc_info=True)


class _Request(BaseHTTPRequestHandler):
    server: Server
    timeout = _SILENT_S

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        answer = self.server.get(urlsplit(self.path).path, self.headers.get("Accept", ""))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked has gone
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return "rbln-exporter"

    def log_message(self, form: str, *args: Any) -> None:
        log.debug(form, *args)
