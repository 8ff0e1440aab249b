"""The client of the API server, against a server that misbehaves on purpose."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rbln_worker.core.kube.api_error import NOT_REACHED, TIMED_OUT, UNREADABLE, ApiError
from rbln_worker.core.kube.kubeconfig import AccessError
from rbln_worker.kube import connection as connection_module
from rbln_worker.kube import transport
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.client import ApiClient
from tests.sim.api_certs import make_ca, make_certificate
from tests.sim.api_scene import SLICES, Thing, answer_with, run, thing, until
from tests.sim.api_server import RawAnswer, SimApiServer, http_answer

SECOND_TOKEN: Final = "token-2 of another length"  # noqa: S105


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimApiServer]:
    with SimApiServer(tmp_path / "api") as server:
        yield server


def failed_get(server: SimApiServer, *, call_timeout_s: float = 20.0) -> ApiError:
    """The error of a GET."""

    async def work(client: ApiClient) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await client.get(f"{SLICES}/one", Thing)
        return caught.value

    return run(server, work, call_timeout_s=call_timeout_s)


def test_objects_are_created_read_changed_and_deleted(server: SimApiServer) -> None:
    async def work(client: ApiClient) -> None:
        made = await client.create(SLICES, thing("one", 1), Thing)
        assert (made.spec, made.metadata.name) == (1, "one")
        assert made.metadata.uid
        assert await client.get(f"{SLICES}/one", Thing) == made
        put = msgspec.structs.replace(made, spec=2)
        newer = await client.update(f"{SLICES}/one", put, Thing)
        with pytest.raises(ApiError, match="409 Conflict") as caught:
            await client.update(f"{SLICES}/one", put, Thing)
        assert (caught.value.status, caught.value.reason) == (409, "Conflict")
        patched = await client.patch(f"{SLICES}/one", {"spec": 3}, Thing)
        listed = await client.list(SLICES, Thing)
        assert listed.items == (patched,)
        assert patched.spec == 3
        with pytest.raises(ApiError, match="409 Conflict"):
            await client.delete(f"{SLICES}/one", newer.metadata)
        await client.delete(f"{SLICES}/one", patched.metadata)
        with pytest.raises(ApiError, match=f"^GET {SLICES}/one: 404 NotFound: "):
            await client.get(f"{SLICES}/one", Thing)

    run(server, work)
    assert server.connections == 1


HTML: Final = b"<html><body>502 Bad Gateway\r\nnginx</body></html>"
JSON: Final = b'{"metadata": {"name": "one"}, "spec": 1}'


@pytest.mark.parametrize(
    ("answer", "status", "reason", "text"),
    [
        (http_answer(502, HTML, kind="text/html"), 502, "HTTP502", "502 Bad Gateway nginx"),
        (http_answer(200, HTML, kind="text/html"), 0, UNREADABLE, "malformed"),
        (http_answer(200, JSON[:-4]), 0, UNREADABLE, "truncated"),
        (http_answer(200, b'{"metadata": 7}'), 0, UNREADABLE, "Expected `object`"),
        (http_answer(200, b'{"metadata": {}, "spec": "7"}'), 0, UNREADABLE, "Expected `int`"),
        (http_answer(200, b'{"x":' + b"[" * 100_000), 0, UNREADABLE, "recursion"),
        (http_answer(200, b"\xff\xfe"), 0, UNREADABLE, "malformed"),
        (http_answer(200, b""), 0, UNREADABLE, "truncated"),
        (http_answer(302, b"", "Location: https://127.0.0.1/"), 302, "HTTP302", "302"),
        (http_answer(403, b'{"reason": "Forbidden"}'), 403, "Forbidden", "403 Forbidden"),
        (http_answer(500, b'{"reason": 7, "message": []}'), 500, "HTTP500", '"reason": 7'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", 0, NOT_REACHED, "closed the"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, 0, UNREADABLE, "no HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 0, UNREADABLE, "no HTTP"),
        (b"", 0, NOT_REACHED, "the server closed the connection"),
    ],
)
def test_a_hostile_answer_is_an_error_of_one_line(
    server: SimApiServer, answer: bytes, status: int, reason: str, text: str
) -> None:
    server.fault = lambda _: RawAnswer(answer)
    error = failed_get(server)
    assert (error.status, error.reason) == (status, reason)
    assert str(error).startswith(f"GET {SLICES}/one: ")
    assert text in str(error)
    assert str(error).isprintable()
    assert len(str(error)) <= 400


def test_a_body_that_is_too_large_is_an_error(
    server: SimApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_BODY_BYTES", 1000)
    server.fault = lambda _: RawAnswer(http_answer(200, b" " * 1001 + JSON))
    assert "more than 1000 bytes" in str(failed_get(server))


def test_silence_is_an_error_within_the_deadline(server: SimApiServer) -> None:
    server.fault = lambda _: RawAnswer(end="hang")
    error = failed_get(server, call_timeout_s=0.5)
    assert (error.status, error.reason) == (0, TIMED_OUT)
    assert "no answer within 0.5 s" in str(error)


def test_calls_that_wait_for_a_silent_server_all_end(server: SimApiServer) -> None:
    server.fault = lambda _: RawAnswer(end="hang")

    async def work(client: ApiClient) -> list[object]:
        calls = [client.get(f"{SLICES}/{number}", Thing) for number in range(20)]
        return await asyncio.gather(*calls, return_exceptions=True)

    errors = run(server, work, call_timeout_s=1.0)
    assert [one.reason for one in errors if isinstance(one, ApiError)] == [TIMED_OUT] * 20


def test_nobody_listening_is_an_error(server: SimApiServer) -> None:
    server.stop()
    error = failed_get(server)
    assert (error.status, error.reason) == (0, NOT_REACHED)
    assert f"127.0.0.1:{server.port}" in str(error)


@pytest.mark.parametrize("verb", ["GET", "PATCH", "POST"])
def test_an_idle_connection_that_the_server_closed_is_replaced(
    server: SimApiServer, verb: str
) -> None:
    async def work(client: ApiClient) -> None:
        await client.create(SLICES, thing("one"), Thing)
        server.drop_connections()
        await until(lambda: not client._transport._kept[0].is_usable)
        await call_again(client, verb)

    run(server, work)
    assert server.connections == 2


async def call_again(client: ApiClient, verb: str) -> None:
    if verb == "GET":
        await client.get(f"{SLICES}/one", Thing)
    elif verb == "PATCH":
        await client.patch(f"{SLICES}/one", {"spec": 7}, Thing)
    else:
        await client.create(SLICES, thing("two"), Thing)


@pytest.mark.parametrize("end", ["close", "reset", "hang"])
def test_a_kept_connection_that_fails_is_repeated_once_on_a_new_one(
    server: SimApiServer, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "IDLE_S", 0.0)
    server.fault = answer_with(None, RawAnswer(end=end))

    async def work(client: ApiClient) -> Thing:
        await client.create(SLICES, thing("one"), Thing)
        return await client.get(f"{SLICES}/one", Thing)

    assert run(server, work).metadata.name == "one"
    assert [request.verb for request in server.requests] == ["POST", "GET", "GET"]
    assert server.connections == 2


def test_a_slow_server_gets_nothing_twice(
    server: SimApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "REUSED_TIMEOUT_S", 0.0)
    server.fault = answer_with(None, RawAnswer(end="hang"))

    async def work(client: ApiClient) -> None:
        await client.create(SLICES, thing("one"), Thing)
        with pytest.raises(ApiError, match="no answer within 1 s"):
            await client.get(f"{SLICES}/one", Thing)

    run(server, work, call_timeout_s=1.0)
    assert [request.verb for request in server.requests] == ["POST", "GET"]


def test_a_post_is_not_repeated(server: SimApiServer) -> None:
    server.fault = answer_with(None, RawAnswer(end="close"))

    async def work(client: ApiClient) -> None:
        await client.create(SLICES, thing("one"), Thing)
        with pytest.raises(ApiError, match="the server closed the connection"):
            await client.create(SLICES, thing("two"), Thing)

    run(server, work)
    assert len(server.requests) == 2


def test_a_connection_is_not_reused_after_a_cancelled_call(server: SimApiServer) -> None:
    server.fault = answer_with(None, RawAnswer(b"HTTP/1.1 200 OK\r\n", end="hang"))

    async def work(client: ApiClient) -> Thing:
        await client.create(SLICES, thing("one"), Thing)
        call = asyncio.create_task(client.get(f"{SLICES}/one", Thing))
        await until(lambda: len(server.requests) == 2)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return await client.get(f"{SLICES}/one", Thing)

    assert run(server, work).metadata.name == "one"


def test_retry_after_is_waited_for_within_the_deadline(server: SimApiServer) -> None:
    busy = RawAnswer(http_answer(429, b"{}", "Retry-After: 1"), end="keep")
    server.fault = answer_with(busy, busy)

    async def work(client: ApiClient) -> float:
        start = time.monotonic()
        await client.create(SLICES, thing("one"), Thing)
        return time.monotonic() - start

    assert run(server, work) >= 2.0


def test_retry_after_beyond_the_deadline_is_an_error_that_has_it(server: SimApiServer) -> None:
    server.fault = lambda _: RawAnswer(http_answer(503, b"{}", "Retry-After: 60"), end="keep")
    error = failed_get(server)
    assert (error.status, error.retry_after_s) == (503, 60.0)
    assert len(server.requests) == 1


def test_a_new_token_is_read_when_its_file_changes(server: SimApiServer) -> None:
    token = server.folder / "token"
    token.write_text("token-1\n")
    config = server.kubeconfig(tokenFile="token")

    async def work(client: ApiClient) -> None:
        await client.create(SLICES, thing("one"), Thing)
        token.write_text(SECOND_TOKEN)
        server.token = SECOND_TOKEN
        await client.get(f"{SLICES}/one", Thing)

    run(server, work, kubeconfig=config)
    assert len(server.requests) == 2


def test_a_token_that_is_refused_is_read_again_once(server: SimApiServer) -> None:
    token = server.folder / "token"
    token.write_text("token-1")
    config = server.kubeconfig(tokenFile=str(token))
    access = ClusterAccess(config)
    access.current_credentials()
    # The file changes, and its mark does not show it: as two writes in one tick of the clock.
    token.write_text(SECOND_TOKEN)
    access._marks[token] = tuple(
        getattr(token.stat(), key) for key in ("st_dev", "st_ino", "st_mtime_ns", "st_size")
    )
    server.token = SECOND_TOKEN

    async def work() -> None:
        client = ApiClient(access)
        await client.create(SLICES, thing("one"), Thing)
        server.token = f"{SECOND_TOKEN}, replaced"
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await client.get(f"{SLICES}/one", Thing)
        await client.close()

    asyncio.run(work())
    assert [request.verb for request in server.requests] == ["POST", "POST", "GET"]


def test_a_new_ca_is_read_when_its_file_changes(server: SimApiServer) -> None:
    shared = server.folder / "trusted.crt"
    shared.write_bytes(server.ca.read_bytes())
    old = server.ca
    server.ca = shared
    config = server.kubeconfig()
    server.ca = old

    async def work(client: ApiClient) -> None:
        await client.create(SLICES, thing("one"), Thing)
        server.stop()
        server.renew_certificate("other-ca")
        server.start()
        with pytest.raises(ApiError, match="the server's certificate: ") as caught:
            await client.get(f"{SLICES}/one", Thing)
        assert caught.value.status == 0
        shared.write_bytes(server.ca.read_bytes())
        await client.get(f"{SLICES}/one", Thing)

    run(server, work, kubeconfig=config)


def test_a_server_of_another_name_is_not_trusted(server: SimApiServer) -> None:
    config = server.kubeconfig()
    document = json.loads(config.read_text())
    document["clusters"][0]["cluster"]["tls-server-name"] = "kubernetes.default.svc"
    config.write_text(json.dumps(document))

    async def work(client: ApiClient) -> None:
        with pytest.raises(ApiError, match=r"the server's certificate: .*kubernetes\.default"):
            await client.get(f"{SLICES}/one", Thing)

    run(server, work, kubeconfig=config)
    assert server.requests == []


@pytest.mark.parametrize("inline", [False, True])
def test_a_client_certificate_is_used(server: SimApiServer, *, inline: bool) -> None:
    ca = make_ca(server.folder, "clients")
    certificate, key = make_certificate(ca, "system:node:one", usage="clientAuth")
    server.stop()
    server.client_ca, server.token = ca, ""
    server.start()
    user: dict[str, str] = {"client-certificate": str(certificate), "client-key": str(key)}
    if inline:
        user = {
            f"{name}-data": base64.b64encode(Path(str(path)).read_bytes()).decode()
            for name, path in user.items()
        }

    async def work(client: ApiClient) -> None:
        await client.create(SLICES, thing("one"), Thing)

    run(server, work, kubeconfig=server.kubeconfig(**user))
    with pytest.raises(ApiError):
        run(server, work, kubeconfig=server.kubeconfig(**{"client-key": ""}))


def test_a_service_account_is_read_from_its_folder(server: SimApiServer) -> None:
    folder = server.folder / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(server.token)
    (folder / "ca.crt").write_bytes(server.ca.read_bytes())
    place = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}

    async def work() -> Thing:
        client = ApiClient(ClusterAccess(None, folder=folder, environment=place))
        made = await client.create(SLICES, thing("one"), Thing)
        await client.close()
        return made

    assert asyncio.run(work()).metadata.uid
    with pytest.raises(AccessError, match="not in a pod"):
        ClusterAccess(None, folder=folder, environment={}).current_credentials()
    with pytest.raises(AccessError, match="token: No such file"):
        ClusterAccess(None, folder=server.folder, environment=place).current_credentials()


def test_proxies_of_the_environment_are_not_used(
    server: SimApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def work(client: ApiClient) -> None:
        await client.create(SLICES, thing("one"), Thing)

    run(server, work)
