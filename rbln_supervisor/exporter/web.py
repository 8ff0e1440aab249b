"""The HTTP server: one thread for each request, limited in number and time."""

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

from rbln_supervisor.exporter.pages import HttpResponse

AT_A_TIME: Final = 16
"""Maximum number of concurrent requests; a further one gets 503 at once."""
REQUEST_TIMEOUT_S: Final = 10.0
"""Maximum duration of a connection (seconds); then it is closed, even while it sends or reads."""
SILENT_S: Final = 5.0
"""Maximum time to wait for a client's data (seconds)."""
_BUSY: Final = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

Get = Callable[[str, str], HttpResponse]
Connection = socket.socket | tuple[bytes, socket.socket]
"""Type of socketserver; for TCP it is a socket."""

log = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """An HTTP server that answers GET with the result of a function of path and Accept header."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, get: Get) -> None:
        """Listen. Raises OSError. Port 0: any free port."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        self._slots = threading.BoundedSemaphore(AT_A_TIME)
        self._open: dict[Connection, float] = {}
        self._lock = threading.Lock()  # held for a few instructions each time
        super().__init__((host, port), partial(_Request, get))

    def server_bind(self) -> None:
        """Listen on IPv4, too, if every address is meant."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's method: it resolves our name, which can take long.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Connection, client_address: object) -> None:
        """Handle a request in a thread, if a slot is free."""
        if not self._slots.acquire(blocking=False):
            if isinstance(request, socket.socket):
                with contextlib.suppress(OSError):  # the client may be gone, too
                    request.send(_BUSY, socket.MSG_DONTWAIT)
            self.shutdown_request(request)
            return
        with self._lock:
            self._open[request] = monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Connection, client_address: object) -> None:
        """Handle a request in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[request]
            self._slots.release()

    def service_actions(self) -> None:
        """Close connections that take too long, even with progress; called twice a second."""
        overdue = monotonic() - REQUEST_TIMEOUT_S
        with self._lock:
            for request, began in self._open.items():
                if began < overdue and isinstance(request, socket.socket):
                    with contextlib.suppress(OSError):  # it ends just now
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _request: Connection, _client_address: object) -> None:
        """Log a client that is gone, or an internal error; neither ends the server."""
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
        with contextlib.suppress(ConnectionError):  # the client is gone
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return "rbln-exporter"

    def log_message(self, form: str, *args: object) -> None:
        log.debug(form, *args)
