"""The connection of a DRA worker to the API server, made as soon as there are credentials."""

import asyncio
from pathlib import Path
from typing import Final, TypeVar

from rbln_worker.core.kube.kubeconfig import AccessError
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.client import ApiClient

RETRY_INTERVAL_S: Final = 5.0

T = TypeVar("T")


class ClusterConnection:
    """A client, or the reason why there is none yet."""

    def __init__(self, kubeconfig: Path | None) -> None:
        """Use a kubeconfig; None: the pod's service account."""
        self._kubeconfig = kubeconfig
        self._client: ApiClient | None = None
        self.problem = ""
        """The reason why there is no client; empty if there is one, or it was not needed yet."""

    def open_client(self) -> ApiClient:
        """Return the client. Raises AccessError."""
        if self._client is None:
            try:
                self._client = ApiClient(ClusterAccess(self._kubeconfig))
            except AccessError as error:
                self.problem = str(error)
                raise
            self.problem = ""
        return self._client

    async def wait_client(self) -> ApiClient:
        """Return the client when there are credentials."""
        while True:
            try:
                return self.open_client()
            except AccessError:
                await asyncio.sleep(RETRY_INTERVAL_S)

    async def get(self, path: str, type: type[T]) -> T:  # noqa: A002 - as the client has it
        """Read an object. Raises AccessError and ApiError."""
        return await self.open_client().get(path, type)

    async def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            await self._client.close()
