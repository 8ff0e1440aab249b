"""Scenes of the API client: a server in the test, and what both sides say."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from rbln_worker.core.kube.api_object import ObjectMeta
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.client import ApiClient
from tests.sim.api_server import ApiRequest, RawAnswer, SimApiServer

SLICES: Final = "/apis/resource.k8s.io/v1/resourceslices"
T = TypeVar("T")


class Thing(msgspec.Struct, frozen=True):
    """An object with one field."""

    metadata: ObjectMeta
    spec: int = 0


def thing(name: str, spec: int = 0) -> Thing:
    return Thing(ObjectMeta(name=name), spec)


def run(
    server: SimApiServer,
    work: Callable[[ApiClient], Awaitable[T]],
    *,
    kubeconfig: Path | None = None,
    call_timeout_s: float = 20.0,
) -> T:
    """Run a coroutine with a client of the server."""

    async def scene() -> T:
        access = ClusterAccess(kubeconfig or server.kubeconfig())
        client = ApiClient(access, call_timeout_s=call_timeout_s)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(scene())


def answer_with(*answers: RawAnswer | None) -> Callable[[ApiRequest], RawAnswer | None]:
    """Give these answers, one after the other; None: the server's own. Then its own."""
    rest = list(answers)
    return lambda _: rest.pop(0) if rest else None


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the server is another thread
            await asyncio.sleep(0.005)
