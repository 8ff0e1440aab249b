"""A list that is followed, against a server that misbehaves on purpose."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from rbln_worker.core.kube.api_error import ApiError
from rbln_worker.kube import client as client_module
from rbln_worker.kube.client import ApiClient
from rbln_worker.kube.reflector import follow_list
from tests.sim.api_scene import SLICES, Thing, run, thing, until
from tests.sim.api_server import ApiRequest, RawAnswer, SimApiServer, http_answer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimApiServer]:
    with SimApiServer(tmp_path / "api") as server:
        yield server


async def next_list(lists: AsyncGenerator[dict[str, Thing], None]) -> dict[str, int]:
    """The next list that is followed, by name and spec."""
    async with asyncio.timeout(30):
        return {name: one.spec for name, one in (await anext(lists)).items()}


def follow_slices(client: ApiClient) -> AsyncGenerator[dict[str, Thing], None]:
    return follow_list(client, SLICES, Thing, on_problem=lambda _: None)


@pytest.mark.parametrize("bookmarks", [False, True])
def test_a_list_is_followed_over_the_ends_of_watches(
    server: SimApiServer, monkeypatch: pytest.MonkeyPatch, *, bookmarks: bool
) -> None:
    monkeypatch.setattr(client_module, "WATCH_S", 1.0)
    server.bookmarks = bookmarks

    async def work(client: ApiClient) -> None:
        await client.create(SLICES, thing("one", 1), Thing)
        async with aclosing(follow_slices(client)) as lists:
            assert await next_list(lists) == {"one": 1}
            made = await client.create(SLICES, thing("two", 2), Thing)
            assert await next_list(lists) == {"one": 1, "two": 2}
            await client.patch(f"{SLICES}/two", {"spec": 3}, Thing)
            assert await next_list(lists) == {"one": 1, "two": 3}
            waiting = asyncio.create_task(next_list(lists))
            await until(lambda: sum("watch" in one.query for one in server.requests) >= 3)
            await client.delete(f"{SLICES}/one")
            assert await waiting == {"two": 3}
            assert made.metadata.uid

    run(server, work)
    lists = [one for one in server.requests if one.verb == "GET" and "watch" not in one.query]
    assert len(lists) == 1


def watch_answer(*lines: bytes, end: str = "close") -> RawAnswer:
    """The answer to a watch that ends as it should not."""
    body = b"\n".join(lines)
    return RawAnswer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body),
        end=end,
    )


def only_first_watch(answer: RawAnswer) -> Callable[[ApiRequest], RawAnswer | None]:
    """Give this answer to the first watch."""
    rest = [answer]
    return lambda request: rest.pop() if rest and "watch" in request.query else None


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (watch_answer(b'{"type":"ADDED","object":{"metadata":[]}}\n'), 0, "Expected `object`"),
        (watch_answer(b'{"type":"OTHER","object":{"metadata":{}}}\n'), 0, "'OTHER'"),
        (watch_answer(b"<html>\n"), 0, "malformed"),
        (watch_answer(b'{"type":"ADDED","obj'), 0, "the server closed"),
        (watch_answer(b'{"type":"ERROR","object":7}\n'), 0, "without a Status"),
        (watch_answer(b'{"type":"ERROR","object":{"code":500}}\n'), 500, "500 WatchError"),
        (RawAnswer(http_answer(403, b'{"reason":"Forbidden"}')), 403, "403 Forbidden"),
        (watch_answer(b"\n", end="reset"), 0, ""),
    ],
)
def test_after_a_broken_watch_the_list_is_read_again(
    server: SimApiServer, answer: RawAnswer, status: int, text: str
) -> None:
    server.fault = only_first_watch(answer)
    problems: list[ApiError | None] = []

    async def work(client: ApiClient) -> None:
        lists = follow_list(client, SLICES, Thing, on_problem=problems.append)
        async with aclosing(lists):
            assert await next_list(lists) == {}
            assert await next_list(lists) == {}
            await client.create(SLICES, thing("one", 1), Thing)
            assert await next_list(lists) == {"one": 1}

    run(server, work)
    assert problems[0] is None
    assert isinstance(problems[1], ApiError)
    assert problems[1].status == status
    assert text in str(problems[1])
    assert SLICES in str(problems[1])
    assert problems[2:] == [None]


def test_an_expired_version_is_listed_again_and_is_no_problem(server: SimApiServer) -> None:
    expired = watch_answer(b'{"type":"ERROR","object":{"code":410,"reason":"Expired"}}\n')
    server.fault = only_first_watch(expired)
    problems: list[ApiError | None] = []

    async def work(client: ApiClient) -> None:
        lists = follow_list(client, SLICES, Thing, on_problem=problems.append)
        async with aclosing(lists):
            assert await next_list(lists) == {}
            await client.create(SLICES, thing("one", 1), Thing)
            assert await next_list(lists) == {"one": 1}

    run(server, work)
    assert problems == [None, None]


def test_a_silent_watch_is_dropped(server: SimApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "WATCH_S", 1.0)
    monkeypatch.setattr(client_module, "WATCH_SLACK_S", 0.5)
    server.fault = only_first_watch(watch_answer(b"\n", end="hang"))

    async def work(client: ApiClient) -> None:
        lists = follow_slices(client)
        async with aclosing(lists):
            assert await next_list(lists) == {}
            assert await next_list(lists) == {}

    run(server, work)


def test_a_line_that_is_too_long_ends_a_watch(
    server: SimApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_LINE_BYTES", 1000)
    server.fault = only_first_watch(watch_answer(b" " * 1001, end="hang"))
    problems: list[ApiError | None] = []

    async def work(client: ApiClient) -> None:
        lists = follow_list(client, SLICES, Thing, on_problem=problems.append)
        async with aclosing(lists):
            assert await next_list(lists) == {}
            assert await next_list(lists) == {}

    run(server, work)
    assert "an event of over 1000 bytes" in str(problems[1])


def test_a_server_that_was_gone_is_followed_again(server: SimApiServer) -> None:
    problems: list[ApiError | None] = []

    async def work(client: ApiClient) -> None:
        lists = follow_list(client, SLICES, Thing, on_problem=problems.append)
        async with aclosing(lists):
            assert await next_list(lists) == {}
            server.stop()
            waiting = asyncio.create_task(next_list(lists))
            await until(lambda: len(problems) >= 3)
            server.start()
            assert await waiting == {}

    run(server, work)
    assert problems[-1] is None
    assert all(isinstance(one, ApiError) for one in problems[1:-1])
