"""A small API server: real HTTPS on loopback, objects in memory, and faults on request.

It runs in a thread, so that tests of processes can use it, too. Its port stays the same over stop
and start, as that of an API server that restarts.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.sim.api_certs import make_ca, make_certificate
from tests.sim.api_store import ApiProblem, ApiStore, Obj

DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.01
FIRST_TOKEN: Final = "token-1"  # noqa: S105


class ApiRequest(msgspec.Struct, frozen=True):
    """A request that the server got."""

    verb: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int
    """Number of the connection, from 1."""

    @property
    def object(self) -> Obj:
        return json.loads(self.body) if self.body else {}


class RawAnswer(msgspec.Struct, frozen=True):
    """Bytes instead of the answer that the server would give."""

    data: bytes = b""
    end: str = "close"
    """``close``, ``hang`` (the connection stays, silent), ``keep`` or ``reset``."""


T = TypeVar("T")
Fault = Callable[[ApiRequest], RawAnswer | None]


def no_fault(_: ApiRequest) -> RawAnswer | None:
    return None


class SimApiServer:
    """The server; ``fault`` may replace its answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ApiStore()
        self.token = FIRST_TOKEN
        self.fault: Fault = no_fault
        self.requests: list[ApiRequest] = []
        self.connections = 0
        self.bookmarks = False
        self.port = 0
        self.client_ca: Path | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.renew_certificate()

    def renew_certificate(self, name: str = "ca") -> None:
        """Make a new CA and a certificate of the server; new connections get it."""
        self.ca = make_ca(self.folder, name)
        self._certificate = make_certificate(self.ca, f"server-of-{name}", usage="serverAuth")

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def start(self) -> None:
        """Listen."""
        self._do(self._start())

    def stop(self) -> None:
        """End: nobody listens, and all connections are reset."""
        self._do(self._stop())

    def drop_connections(self) -> None:
        """Close all connections in an orderly way, as a server does with idle ones."""
        self._do(self._drop())

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def kubeconfig(self, name: str = "kubeconfig", **user: object) -> Path:
        """Write a kubeconfig with a token, or with these keys of a user."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [
                {
                    "name": "it",
                    "cluster": {"server": self.url, "certificate-authority": str(self.ca)},
                }
            ],
            "users": [{"name": "it", "user": user or {"token": self.token}}],
        }
        path = self.folder / name
        path.write_text(json.dumps(document))
        return path

    def act(self, work: Callable[[], T]) -> T:
        """Do something with the objects in the server's own thread; ``stop`` does not cancel it."""
        result: Future[T] = Future()

        def do_work() -> None:
            try:
                result.set_result(work())
            except Exception as error:  # noqa: BLE001 - the caller's
                result.set_exception(error)

        self._loop.call_soon_threadsafe(do_work)
        return result.result(DEADLINE_S)

    def _do(self, work: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    async def _start(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._certificate)
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.client_ca)
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=context, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A client that is gone ends its TLS handshake, of which no writer knows, in the next turns.
        await asyncio.sleep(0.01)

    async def _drop(self) -> None:
        for writer in tuple(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        number = self.connections
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(await _read_request(reader, number), writer):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _answer(self, request: ApiRequest, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; return True if the connection stays."""
        self.requests.append(request)
        if (fault := self.fault(request)) is not None:
            return await _send_raw(fault, writer)
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            code, answer = 401, ApiProblem(401, "Unauthorized", "Unauthorized").status
        elif request.query.get("watch"):
            await self._send_watch(request, writer)
            return True
        else:
            code, answer = self._act(request)
        writer.write(http_answer(code, json.dumps(answer).encode()))
        await writer.drain()
        return True

    def _act(self, request: ApiRequest) -> tuple[int, Obj]:
        store, path = self.store, request.path
        try:
            match request.verb:
                case "GET" if path in store.objects:
                    return 200, store.get(path)
                case "GET" if is_collection(path):
                    return 200, store.list_objects(path, request.query.get("fieldSelector", ""))
                case "GET":
                    return 200, store.get(path)
                case "POST":
                    return 201, store.create(path, request.object)
                case "PUT":
                    return 200, store.update(path, request.object)
                case "PATCH":
                    return 200, store.patch(path, request.object)
                case _:
                    return 200, store.delete(path, request.object)
        except ApiProblem as problem:
            return problem.code, problem.status

    async def _send_watch(self, request: ApiRequest, writer: asyncio.StreamWriter) -> None:
        version = int(request.query.get("resourceVersion") or self.store.version)
        end = self._loop.time() + float(request.query["timeoutSeconds"])
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        while self._loop.time() < end:
            try:
                changes = self.store.changes_since(
                    request.path, version, request.query.get("fieldSelector", "")
                )
            except ApiProblem as problem:
                writer.write(chunk({"type": "ERROR", "object": problem.status}))
                break
            for at, change, item in changes:
                writer.write(chunk({"type": change, "object": item}))
                version = at
            if self.bookmarks and version < self.store.version:
                version = self.store.version
                meta = {"metadata": {"resourceVersion": str(version)}}
                writer.write(chunk({"type": "BOOKMARK", "object": meta}))
            await writer.drain()
            if writer.is_closing():
                raise ConnectionResetError
            await asyncio.sleep(_POLL_S)
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def is_collection(path: str) -> bool:
    """Plural at the end: /api/v1/X, /apis/group/version/X, or those of a namespace."""
    parts = path.strip("/").split("/")
    depth = 2 if parts[0] == "api" else 3
    rest = parts[depth:]
    return len(rest) == 1 or (len(rest) == 3 and rest[0] == "namespaces")


def chunk(event: Obj) -> bytes:
    """One line of a watch, as a chunk."""
    data = json.dumps(event).encode() + b"\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def http_answer(code: int, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {code} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def _read_request(reader: asyncio.StreamReader, connection: int) -> ApiRequest:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    verb, target, _ = lines[0].split(" ")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:] if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    query = {key: values[0] for key, values in parse_qs(url.query).items()}
    return ApiRequest(verb, url.path, query, headers, body, connection)


async def _send_raw(answer: RawAnswer, writer: asyncio.StreamWriter) -> bool:
    writer.write(answer.data)
    await writer.drain()
    match answer.end:
        case "keep":
            return True
        case "hang":
            await asyncio.Event().wait()
        case "reset":
            plain = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        case _:
            pass
    return False
