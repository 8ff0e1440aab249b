"""One HTTP/1.1 connection to the API server: TLS by asyncio, the protocol by h11."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import h11
import msgspec

from rbln_worker.core.kube.api_error import (
    NOT_REACHED,
    ApiError,
    unreadable_response,
)
from rbln_worker.core.kube.kubeconfig import ServerAddress

MAX_BODY_BYTES: Final = 16 << 20
_READ_BYTES: Final = 64 << 10
_MAX_HEADER_BYTES: Final = 32 << 10
_KEEPALIVE_IDLE_S: Final = 10
"""Silence after which the kernel probes a connection. It ends a connection whose other end is gone
without a word (a node that died, a load balancer that forgot it) after some 20 s."""
_KEEPALIVE_INTERVAL_S: Final = 3
_KEEPALIVE_PROBES: Final = 3
_USER_TIMEOUT_MS: Final = 20_000
USER_AGENT: Final = "rbln-device-plugin"
_CLOSED: Final = "the server closed the connection"


class HttpRequest(msgspec.Struct, frozen=True):
    """A request."""

    verb: str
    target: str
    body: bytes = b""
    content_type: str = ""

    @property
    def call_name(self) -> str:
        """Verb and path, for errors."""
        return f"{self.verb} {self.target.partition('?')[0]}"


class Connection:
    """A connection. After an error or a cancellation in the middle of a request it is closed."""

    def __init__(
        self,
        server: ServerAddress,
        part: object,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.part = part
        """ServerAddress and certificates that the connection was made with."""
        self.kept_at = 0.0
        """Time of the end of the latest request (the event loop's seconds)."""
        self.has_response = False
        """True after the first byte of the answer to the latest request."""
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)

    @property
    def is_usable(self) -> bool:
        """True if the connection can carry a request, as far as we know."""
        ended = self._reader.at_eof() or self._writer.is_closing()
        return not ended and self._http.our_state is h11.IDLE

    async def send_request(self, request: HttpRequest, token: str) -> h11.Response:
        """Send a request and return the head of its response. Raises ApiError."""
        self.has_response = False
        with _mapped_errors(request.call_name):
            headers = [
                ("Host", self._server.host_header),
                ("User-Agent", USER_AGENT),
                ("Accept", "application/json"),
            ]
            if token:
                headers.append(("Authorization", f"Bearer {token}"))
            if request.body:
                headers.append(("Content-Type", request.content_type))
                headers.append(("Content-Length", str(len(request.body))))
            start = h11.Request(
                method=request.verb, target=self._server.prefix + request.target, headers=headers
            )
            parts = [self._http.send(start)]
            if request.body:
                parts.append(self._http.send(h11.Data(data=request.body)))
            parts.append(self._http.send(h11.EndOfMessage()))
            self._writer.write(b"".join(part for part in parts if part))
            await self._writer.drain()
            while True:
                event = await self._next_event()
                if isinstance(event, h11.Response):
                    return event
                if not isinstance(event, h11.InformationalResponse):
                    raise ConnectionResetError(_CLOSED)

    async def read_part(self, call: str) -> bytes:
        """Return the next part of the answer's body; nothing at its end. Raises ApiError."""
        with _mapped_errors(call):
            event = await self._next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if not isinstance(event, h11.EndOfMessage):
                raise ConnectionResetError(_CLOSED)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return b""

    async def read_body(self, call: str) -> bytes:
        """Return the whole body. Raises ApiError, also if it is too large."""
        parts, size = [], 0
        while part := await self.read_part(call):
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise unreadable_response(call, f"more than {MAX_BODY_BYTES} bytes")
            parts.append(part)
        return b"".join(parts)

    def close_now(self) -> None:
        """Close the connection without waiting for the other end."""
        self._writer.transport.abort()

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(_READ_BYTES)
            self.has_response = self.has_response or bool(data)
            self._http.receive_data(data)
            if not data:
                return self._last_event()
        return event

    def _last_event(self) -> object:
        """Return the event that the end of the connection makes: it may end a body."""
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise ConnectionResetError(_CLOSED) from error


async def open_connection(
    server: ServerAddress, context: ssl.SSLContext, part: object
) -> Connection:
    """Connect to the server. Raises OSError; ssl.SSLError if one of both is not trusted."""
    reader, writer = await asyncio.open_connection(
        server.host, server.port, ssl=context, server_hostname=server.tls_name or server.host
    )
    plain = writer.get_extra_info("socket")
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
    ):
        plain.setsockopt(level, option, value)
    return Connection(server, part, reader, writer)


@contextlib.contextmanager
def _mapped_errors(call: str) -> Iterator[None]:
    try:
        yield
    except h11.RemoteProtocolError as error:
        raise unreadable_response(call, f"no HTTP: {error}") from error
    except h11.LocalProtocolError as error:
        raise ApiError(call, f"no request: {error}", status=400, reason="BadRequest") from error
    except OSError as error:
        raise ApiError(call, error_text(error), reason=NOT_REACHED) from error


def error_text(error: OSError) -> str:
    """Return the words of an error of sockets or TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate: {error.verify_message}"
    return error.strerror or str(error) or type(error).__name__
