"""The API server, as far as a test needs it: objects as plain values, and the node's history."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.e2e.cluster.config import API_ADDRESS, API_PORT, TOKEN
from tests.e2e.cluster.history import History
from tests.e2e.cluster.setting import NODE

CALL_DEADLINE_S: Final = 10.0
RECONNECT_AFTER_S: Final = 0.2
PODS: Final = "/api/v1/namespaces/default/pods"

Object = dict[str, Any]
"""A Kubernetes object as its JSON has it."""


class NotFoundError(Exception):
    """There is no such object."""


class Api:
    """Calls to the API server, over connections that are kept; from any thread."""

    def __init__(self, certificate: Path) -> None:
        """``certificate`` is the server's own; it makes it when it starts for the first time."""
        self._certificate = certificate
        self._idle: deque[http.client.HTTPSConnection] = deque()

    def connect(self, deadline_s: float | None = CALL_DEADLINE_S) -> http.client.HTTPSConnection:
        """A connection; OSError where nobody is there."""
        context = ssl.create_default_context(cafile=str(self._certificate))
        return http.client.HTTPSConnection(
            API_ADDRESS, API_PORT, timeout=deadline_s, context=context
        )

    def merge(self, path: str, patch: Mapping[str, Any]) -> Object:
        """Change an object by a merge patch (RFC 7386)."""
        return self.call("PATCH", path, patch, kind="application/merge-patch+json")

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        kind: str = "application/json",
    ) -> Object:
        """The answer; NotFoundError, RuntimeError with what the server says, OSError."""
        text = None if body is None else json.dumps(body)
        try:
            status, content = self._request(method, path, text, kind)
        except (ConnectionError, ssl.SSLError):  # the server of kept connections has ended
            self.close()
            status, content = self._request(method, path, text, kind)
        if status == http.HTTPStatus.NOT_FOUND:
            raise NotFoundError(path)
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {content[:500]!r}")
        found: Object = json.loads(content)
        return found

    def _request(self, method: str, path: str, text: str | None, kind: str) -> tuple[int, bytes]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.connect()
        try:
            connection.request(method, path, text, {**headers(), "Content-Type": kind})
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return response.status, content

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().close()

    def ready(self) -> bool:
        """Whether it serves, with the namespace that the tests use and the roles of RBAC.

        The controller manager waits 10 s for these, and then ends.
        """
        try:
            status, _ = self._request("GET", "/readyz", None, "application/json")
            if status != http.HTTPStatus.OK:
                return False
            self.call("GET", "/api/v1/namespaces/default")
        except (OSError, NotFoundError, RuntimeError, http.client.HTTPException):
            return False
        return True

    def node_ready(self) -> bool:
        """Whether the node is there and ready."""
        try:
            node = self.call("GET", f"/api/v1/nodes/{NODE}")
        except NotFoundError:
            return False
        conditions = node["status"].get("conditions", ())
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def headers() -> Mapping[str, str]:
    """Of every call."""
    return {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


class NodeWatch:
    """Follows the node's status in a thread, from ``with`` to the end of the block.

    Where the server ends the connection, it follows the server's successor.
    """

    def __init__(self, api: Api, history: History) -> None:
        self._api = api
        self._history = history
        self._left = threading.Event()
        self._connect()
        self._thread = threading.Thread(target=self._follow, name="node watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        with contextlib.suppress(OSError):  # the server went first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _connect(self) -> None:
        self._connection = self._api.connect(deadline_s=None)
        path = f"/api/v1/nodes?watch=1&fieldSelector=metadata.name%3D{NODE}"
        self._connection.request("GET", path, headers=headers())
        # The response takes the connection's socket with it when it is read to the end.
        self._socket = self._connection.sock
        self._response = self._connection.getresponse()

    def _follow(self) -> None:
        while not self._left.is_set():
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                while line := self._response.readline():
                    self._history.add(json.loads(line)["object"].get("status", {}))
            self._response.close()
            self._connection.close()
            while not self._left.wait(RECONNECT_AFTER_S):
                try:
                    self._connect()
                    break
                except (OSError, http.client.HTTPException):
                    self._connection.close()
