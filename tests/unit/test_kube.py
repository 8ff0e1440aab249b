"""Decisions of the API client: a kubeconfig, errors, delays, lines."""

import base64
import contextlib
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.core.kube.api_error import retry_after, status_error, watch_error
from rbln_worker.core.kube.kubeconfig import (
    AccessError,
    ServerAddress,
    ValueSource,
    parse_server,
    read_kubeconfig,
)
from rbln_worker.core.kube.pacing import MAX_DELAY_S, may_repeat, retry_delay
from rbln_worker.kube.client import LineBuffer

PEM: Final = base64.b64encode(b"PEM").decode()


def config(
    user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "current-context": "b",
        "contexts": [
            {"name": "a", "context": {"cluster": "none", "user": "none"}},
            {"name": "b", "context": {"cluster": "c", "user": "u", "namespace": "x"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://h:1", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {"token": "secret"}}],
    }


def test_the_current_context_names_cluster_and_user() -> None:
    sources = read_kubeconfig(
        config(
            {"client-certificate": "c.pem", "client-key-data": PEM, "tokenFile": "t", "token": "x"},
            {"certificate-authority-data": PEM, "certificate-authority": "ignored"},
        )
    )
    assert sources.server == ServerAddress("h", 1)
    assert sources.ca == ValueSource(data=b"PEM")
    assert sources.token == ValueSource(file="t")
    assert sources.certificate == ValueSource(file="c.pem")
    assert sources.key == ValueSource(data=b"PEM")


@pytest.mark.parametrize(
    ("url", "host", "port", "prefix", "header"),
    [
        ("https://h", "h", 443, "", "h:443"),
        ("https://[fd00::1]:6443/", "fd00::1", 6443, "", "[fd00::1]:6443"),
        ("https://h:1/k8s/clusters/c-1/", "h", 1, "/k8s/clusters/c-1", "h:1"),
    ],
)
def test_a_server_is_read(url: str, host: str, port: int, prefix: str, header: str) -> None:
    server = parse_server(url)
    assert server == ServerAddress(host, port, prefix)
    assert server.host_header == header


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (config({"exec": {"command": "aws"}}), r"a program for credentials \(exec\)"),
        (config({"auth-provider": {"name": "gcp"}}), "auth-provider"),
        (config({"username": "u", "password": "p"}), "basic authentication"),
        (config({"token": "t", "as": "admin"}), "impersonation"),
        (config(cluster={"insecure-skip-tls-verify": True}), "insecure-skip-tls-verify"),
        (config(cluster={"proxy-url": "http://p"}), "proxy-url"),
        (config(cluster={"server": "http://h"}), "https://HOST"),
        (config(cluster={"server": "https://u:p@h"}), "https://HOST"),
        (config(cluster={"server": "https://h:x"}), "https://h:x"),
        (config(cluster={"server": 7}), "server is no text"),
        (config(cluster={"certificate-authority-data": "%"}), "certificate-authority-data"),
        (config({"client-certificate": "c"}), "go together"),
        ({**config(), "current-context": "z"}, "no context 'z'"),
        ({**config(), "current-context": ""}, "no current-context"),
        ({**config(), "current-context": "a"}, "no cluster 'none'"),
        ({**config(), "users": None}, "no user 'u'"),
        ({**config(), "contexts": [7, {"name": "b"}]}, "context 'b' is no mapping"),
        ([], "kubeconfig is no mapping"),
    ],
)
def test_a_kubeconfig_is_refused(document: object, message: str) -> None:
    with pytest.raises(AccessError, match=message) as caught:
        read_kubeconfig(document)
    assert "secret" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.sampled_from(["user", "cluster", "top"]), st.dictionaries(st.text(), json_values))
def test_any_kubeconfig_is_read_or_refused(where: str, extra: dict[str, Any]) -> None:
    document = {
        "user": config(user=extra),
        "cluster": config(cluster=extra),
        "top": {**config(), **extra},
    }[where]
    with contextlib.suppress(AccessError):
        assert read_kubeconfig(document).server.port in range(65536)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1.0),
        (" 30 ", 30.0),
        ("99999", 120.0),
        ("", 0.0),
        ("-1", 0.0),
        ("1.5", 0.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("\u0663", 0.0),
        ("9" * 100, 0.0),
    ],
)
def test_retry_after_is_seconds(header: str, seconds: float) -> None:
    assert retry_after(header) == seconds


def test_an_error_has_the_words_of_the_server() -> None:
    body = b'{"reason":"Forbidden","message":"slices is forbidden:\\n User \\"x\\"","code":403}'
    error = status_error("GET /x", 403, {b"retry-after": b"2"}, body)
    assert str(error) == 'GET /x: 403 Forbidden: slices is forbidden: User "x"'
    assert (error.status, error.reason, error.retry_after_s) == (403, "Forbidden", 2.0)


def test_an_error_in_a_watch_has_its_delay() -> None:
    raw = b'{"code":429,"reason":"TooManyRequests","details":{"retryAfterSeconds":5}}'
    error = watch_error("watch of /x", raw)
    assert (error.status, error.reason, error.retry_after_s) == (429, "TooManyRequests", 5.0)


@given(st.integers(100, 599), st.binary())
def test_any_answer_makes_an_error_of_one_line(status: int, body: bytes) -> None:
    for error in (status_error("GET /x", status, {}, body), watch_error("watch", body)):
        assert str(error).isprintable()
        assert len(str(error)) <= 400


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 120))
def test_a_delay_is_bounded_and_not_shorter_than_required(
    failures: int, chance: float, required_s: float
) -> None:
    delay = retry_delay(failures, chance, required_s)
    assert max(0.1, required_s) <= delay <= max(MAX_DELAY_S, required_s * 1.25)
    assert retry_delay(failures + 1, chance, required_s) >= delay


@pytest.mark.parametrize(
    ("after_s", "retries", "remaining_s", "repeated"),
    [(1.0, 0, 5.0, True), (0.0, 0, 5.0, False), (5.0, 0, 5.0, False), (1.0, 3, 5.0, False)],
)
def test_a_call_is_repeated_in_its_time_where_the_server_gives_a_delay(
    after_s: float, retries: int, remaining_s: float, *, repeated: bool
) -> None:
    assert may_repeat(after_s, retries, remaining_s) is repeated


@given(st.lists(st.binary(max_size=6).map(lambda data: data.replace(b"x", b"\n"))))
def test_lines_are_the_same_however_they_arrive(parts: list[bytes]) -> None:
    lines = LineBuffer(1000)
    taken = [line for part in parts for line in lines.take_lines(part)]
    whole = b"".join(parts).rpartition(b"\n")[0]
    assert taken == [line for line in whole.split(b"\n") if line.strip()]


def test_a_line_without_end_is_noticed() -> None:
    lines = LineBuffer(10)
    assert lines.take_lines(b"01234\n0123456789") == [b"01234"]
    assert not lines.is_too_long
    assert lines.take_lines(b"0") == []
    assert lines.is_too_long
