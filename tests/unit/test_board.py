"""Streams of ListAndWatch: what a slow one skips, and what none gets twice."""

import asyncio
from collections.abc import AsyncIterator

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.device_allocation import EnvNames
from rbln_worker.kubelet.board import Board
from rbln_worker.kubelet.prepared import PreparedAnswers

A, B = b"a", b"b"


def lists(*messages: bytes) -> PreparedAnswers:
    return PreparedAnswers(
        PoolName("rebellions.ai/ATOM"),
        EnvNames("RESOURCE", "DEVICES", "INFO"),
        listed={DeviceId(f"{at}"): one for at, one in enumerate(messages)},
    )


async def has_none(stream: AsyncIterator[bytes]) -> bool:
    """True if a stream waits for a change."""
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    return not waiting.done()


def test_a_slow_stream_skips_to_the_newest_list() -> None:
    async def follow() -> None:
        board = Board(lists())
        stream = board.watch_list()
        for message in (A, B):
            board.publish_list(lists(message))
        assert await anext(stream) == B
        assert await has_none(stream)

    asyncio.run(follow())


def test_a_list_that_changed_and_changed_back_is_not_sent_again() -> None:
    async def follow() -> None:
        board = Board(lists())
        stream = board.watch_list()
        board.publish_list(lists(A))
        assert await anext(stream) == A
        for message in (B, A):
            board.publish_list(lists(message))
        assert await has_none(stream)

    asyncio.run(follow())


def test_a_list_is_repeated_on_demand() -> None:
    async def follow() -> None:
        board = Board(lists())
        stream = board.watch_list()
        board.publish_list(lists(A))
        assert await anext(stream) == A
        board.repeat_list()
        assert await anext(stream) == A

    asyncio.run(follow())


def test_an_empty_list_is_a_list() -> None:
    async def follow() -> None:
        board = Board(lists())
        board.publish_list(lists())
        assert await anext(board.watch_list()) == b""

    asyncio.run(follow())
