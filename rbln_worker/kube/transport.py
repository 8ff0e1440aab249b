"""Requests over kept connections: time-outs, one repetition, and credentials that are replaced."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import h11

from rbln_worker.core.kube.api_error import (
    NOT_REACHED,
    TIMED_OUT,
    ApiError,
    status_error,
)
from rbln_worker.core.kube.kubeconfig import AccessError
from rbln_worker.kube.access import ClusterAccess, Credentials
from rbln_worker.kube.connection import (
    Connection,
    HttpRequest,
    error_text,
    open_connection,
)

MAX_KEPT: Final = 2
"""Connections that are kept open between requests."""
MAX_CALLS: Final = 4
"""Calls at one moment; others wait for them."""
IDLE_S: Final = 5.0
"""Idle time after which the other end of a kept connection may be gone without a word."""
REUSED_TIMEOUT_S: Final = 1.5
"""Time for the first byte of an answer on such a connection; then the request is repeated on a new
one. Not on others: a slow server would get everything twice."""
_UNAUTHORIZED: Final = 401
_REPEATABLE: Final = frozenset({"GET", "PUT", "PATCH", "DELETE"})
"""POST is not: an object could be created twice."""


class HttpTransport:
    """Connections to the API server. Proxies of the environment are not used."""

    def __init__(self, access: ClusterAccess) -> None:
        self.access = access
        self._kept: list[Connection] = []
        self._calls = asyncio.Semaphore(MAX_CALLS)

    async def call_server(self, request: HttpRequest, timeout_s: float) -> bytes:
        """Return the body of an answer of 2xx. Raises ApiError."""
        async with (
            _call_deadline(request.call_name, timeout_s),
            self._calls,
            self._response_to(request) as connection,
        ):
            return await connection.read_body(request.call_name)

    @contextlib.asynccontextmanager
    async def open_stream(
        self, request: HttpRequest, timeout_s: float
    ) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """Yield a function that returns the next part of the body of an answer of 2xx.

        The function returns nothing at the end. Both raise ApiError.

        ``timeout_s``: until the answer begins. The stream has a connection of its own.
        """
        async with contextlib.AsyncExitStack() as stack:
            async with _call_deadline(request.call_name, timeout_s):
                connection = await stack.enter_async_context(self._response_to(request))
            yield functools.partial(connection.read_part, request.call_name)

    def close_all(self) -> None:
        """Close the connections that no request uses."""
        while self._kept:
            self._kept.pop().close_now()

    @contextlib.asynccontextmanager
    async def _response_to(self, request: HttpRequest) -> AsyncIterator[Connection]:
        """Send a request and yield the connection that has the body of an answer of 2xx."""
        head, connection = await self._send_or_repeat(request)
        if head.status_code == _UNAUTHORIZED and self.access.read_again():
            connection.close_now()
            self.close_all()
            head, connection = await self._send_or_repeat(request)
        try:
            if head.status_code // 100 != 2:
                body = await connection.read_body(request.call_name)
                raise status_error(request.call_name, head.status_code, dict(head.headers), body)
            yield connection
        finally:
            self._keep_open(connection)  # if the whole body was read

    async def _send_or_repeat(self, request: HttpRequest) -> tuple[h11.Response, Connection]:
        credentials = self.access.current_credentials()
        kept = self._take_kept(credentials)
        if kept is not None:
            is_repeatable = request.verb in _REPEATABLE
            was_idle = asyncio.get_running_loop().time() - kept.kept_at >= IDLE_S
            try:
                async with asyncio.timeout(
                    REUSED_TIMEOUT_S if is_repeatable and was_idle else None
                ):
                    return await _send_on(kept, request, credentials), kept
            except (ApiError, TimeoutError):
                if not is_repeatable or kept.has_response:
                    raise
        connection = await self._open_new(request.call_name, credentials)
        return await _send_on(connection, request, credentials), connection

    async def _open_new(self, call: str, credentials: Credentials) -> Connection:
        try:
            return await open_connection(
                credentials.server, self.access.tls_context(), credentials.connection_part
            )
        except OSError as error:
            # A new CA may come any moment; a mark of its file may have missed it.
            self.access.read_again()
            server = credentials.server.host_header
            raise ApiError(call, f"{server}: {error_text(error)}", reason=NOT_REACHED) from error

    def _take_kept(self, credentials: Credentials) -> Connection | None:
        while self._kept:
            connection = self._kept.pop()
            if connection.is_usable and connection.part == credentials.connection_part:
                return connection
            connection.close_now()
        return None

    def _keep_open(self, connection: Connection) -> None:
        if connection.is_usable and len(self._kept) < MAX_KEPT:
            connection.kept_at = asyncio.get_running_loop().time()
            self._kept.append(connection)
        else:
            connection.close_now()


async def _send_on(
    connection: Connection, request: HttpRequest, credentials: Credentials
) -> h11.Response:
    try:
        return await connection.send_request(request, credentials.token)
    except BaseException:
        connection.close_now()
        raise


@contextlib.asynccontextmanager
async def _call_deadline(call: str, timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise ApiError(call, f"no answer within {timeout_s:.3g} s", reason=TIMED_OUT) from error
    except AccessError as error:
        raise ApiError(call, str(error), reason=NOT_REACHED) from error
