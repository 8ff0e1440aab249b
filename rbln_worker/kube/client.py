"""Calls of the Kubernetes API: objects in, objects out.

Paths are those of the API (``/apis/resource.k8s.io/v1/resourceslices``), queries included. Objects
are msgspec structs or dicts. Each call ends within its deadline, with an object or an ApiError.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, cast

import msgspec

from rbln_worker.core.kube.api_error import (
    TIMED_OUT,
    ApiError,
    unreadable_response,
    watch_error,
)
from rbln_worker.core.kube.api_object import ApiObject, ObjectMeta
from rbln_worker.core.kube.pacing import may_repeat, retry_delay
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.connection import HttpRequest
from rbln_worker.kube.transport import HttpTransport

CALL_TIMEOUT_S: Final = 5.0
WATCH_S: Final = 300.0
"""Time after which the server ends a watch (seconds); up to a fifth is added."""
WATCH_SLACK_S: Final = 15.0
"""A watch that the server has not ended then is dropped."""
MAX_LINE_BYTES: Final = 8 << 20
"""Maximum size of one event of a watch; etcd has 1.5 MiB an object."""

Item = TypeVar("Item")
T = TypeVar("T")


class HasMetadata(Protocol):
    """An object of the API."""

    @property
    def metadata(self) -> ObjectMeta:
        """The metadata."""


class ItemList(msgspec.Struct, Generic[Item], frozen=True):
    """A list of objects. They have neither apiVersion nor kind."""

    metadata: ObjectMeta
    """Its version, to watch from."""
    items: tuple[Item, ...] = ()


EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class WatchEvent(msgspec.Struct, Generic[Item], frozen=True):
    """One change of a watched object."""

    type: EventType
    object: Item | None
    """None for a bookmark, which only has a newer version."""
    resource_version: str


class WatchLine(msgspec.Struct, frozen=True):
    """One line of a watch's response."""

    type: EventType | Literal["ERROR"]
    object: msgspec.Raw


class LineBuffer:
    """The line that is not yet complete."""

    def __init__(self, limit: int) -> None:
        """``limit``: maximum length of a line (bytes)."""
        self._rest = bytearray()
        self._limit = limit

    @property
    def is_too_long(self) -> bool:
        """True if the incomplete line is longer than allowed."""
        return len(self._rest) > self._limit

    def take_lines(self, part: bytes) -> list[bytes]:
        """Add a part; return the lines that are complete now, without empty ones."""
        start = len(self._rest)
        self._rest += part
        end = self._rest.rfind(b"\n", start)
        if end < 0:
            return []
        lines = bytes(self._rest[:end]).split(b"\n")
        del self._rest[: end + 1]
        return [line for line in lines if line.strip()]


_WATCH_LINE: Final = msgspec.json.Decoder(WatchLine)
_VERSION: Final = msgspec.json.Decoder(ApiObject)
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_DECODERS: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}


class ApiClient:
    """A client for one event loop. All calls raise ApiError."""

    def __init__(self, access: ClusterAccess, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._transport = HttpTransport(access)
        self._timeout_s = call_timeout_s

    async def get(self, path: str, type: type[T]) -> T:
        """Return an object."""
        return await self._call_server("GET", path, None, type)

    async def list(self, path: str, type: type[T]) -> ItemList[T]:
        """Return the objects of a collection, with the version to watch from."""
        return cast(
            "ItemList[T]", await self._call_server("GET", path, None, cast("Any", ItemList)[type])
        )

    async def create(self, path: str, body: object, type: type[T]) -> T:
        """Create an object in a collection; return it as the server has it."""
        return await self._call_server("POST", path, body, type)

    async def update(self, path: str, body: object, type: type[T]) -> T:
        """Replace an object; with a resourceVersion only if it is still that one."""
        return await self._call_server("PUT", path, body, type)

    async def patch(self, path: str, body: object, type: type[T]) -> T:
        """Change parts of an object by a strategic merge; return it as the server has it."""
        kind = "application/strategic-merge-patch+json"
        return await self._call_server("PATCH", path, body, type, kind)

    async def delete(self, path: str, meta: ObjectMeta | None = None) -> None:
        """Delete an object; with metadata only if it has this UID and version still.

        404 is an ApiError, too.
        """
        body: dict[str, object] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if meta is not None:
            body["preconditions"] = {"uid": meta.uid, "resourceVersion": meta.resource_version}
        await self._call_server("DELETE", path, body, dict[str, object])

    async def watch(
        self, path: str, resource_version: str, type: type[T]
    ) -> AsyncGenerator[WatchEvent[T], None]:
        """Yield the changes of a collection since a version, bookmarks included.

        It ends when the server ends it, after WATCH_S or more. Raises ApiError: 410 if
        the version is too old, TIMED_OUT if the server does not end it.
        """
        seconds = int(WATCH_S * (1 + random.random() / 5))  # noqa: S311 - jitter
        query = (
            f"watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}"
            f"&resourceVersion={resource_version}"
        )
        target = f"{path}{'&' if '?' in path else '?'}{query}"
        request = HttpRequest("GET", target)
        call = f"watch of {path.partition('?')[0]}"
        end = asyncio.get_running_loop().time() + seconds + WATCH_SLACK_S
        lines = LineBuffer(MAX_LINE_BYTES)
        async with self._transport.open_stream(request, self._timeout_s) as read_part:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        part = await read_part()
                except TimeoutError as error:
                    text = f"not ended by the server after {seconds} s"
                    raise ApiError(call, text, reason=TIMED_OUT) from error
                if not part:
                    return
                for line in lines.take_lines(part):
                    yield _watch_event(line, call, type)
                if lines.is_too_long:
                    raise unreadable_response(call, f"an event of over {MAX_LINE_BYTES} bytes")

    async def close(self) -> None:
        """Close idle connections; cancel calls and watches first."""
        self._transport.close_all()

    async def _call_server(
        self,
        verb: str,
        path: str,
        body: object,
        model: type[T],
        content_type: str = "application/json",
    ) -> T:
        data = b"" if body is None else msgspec.json.encode(body)
        request = HttpRequest(verb, path, data, content_type)
        loop = asyncio.get_running_loop()
        end, retries = loop.time() + self._timeout_s, 0
        while True:
            remaining = max(end - loop.time(), 0.0)
            try:
                response = await self._transport.call_server(request, remaining)
            except ApiError as error:
                remaining = end - loop.time()
                if not may_repeat(error.retry_after_s, retries, remaining):
                    raise
                retries += 1
                await asyncio.sleep(min(jittered_delay(0, error.retry_after_s), remaining))
                continue
            try:
                return _decode_as(response, model)
            except _UNDECODABLE as error:
                raise unreadable_response(request.call_name, str(error)) from error


def _decode_as(data: bytes | msgspec.Raw, model: type[T]) -> T:
    decoder = _DECODERS.get(model) or _DECODERS.setdefault(model, msgspec.json.Decoder(model))
    return cast("T", decoder.decode(data))


def _watch_event(line: bytes, call: str, model: type[T]) -> WatchEvent[T]:
    """Return the event of a line. Raises ApiError."""
    try:
        event = _WATCH_LINE.decode(line)
        if event.type == "ERROR":
            raise watch_error(call, bytes(event.object))
        version = _VERSION.decode(event.object).metadata.resource_version
        item = None if event.type == "BOOKMARK" else _decode_as(event.object, model)
    except _UNDECODABLE as error:
        raise unreadable_response(call, str(error)) from error
    return WatchEvent(event.type, item, version)


def jittered_delay(failures: int, required_s: float = 0.0) -> float:
    """Return the delay after a number of failures in a row (seconds), as ``retry_delay``."""
    return retry_delay(failures, random.random(), required_s)  # noqa: S311 - jitter
