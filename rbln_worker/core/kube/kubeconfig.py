"""The reading of a kubeconfig: cluster and user of its current context.

Accepted: a server with https, certificate-authority, client-certificate, client-key and token, each
as a file or as data. Everything else that would change who we are or whom we trust is refused,
instead of ignored: programs (exec), proxies, basic authentication, impersonation, and
insecure-skip-tls-verify.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from rbln_worker.contract.errors import RblnError
from rbln_worker.core.kube.api_error import MAX_ERROR_TEXT
from rbln_worker.core.limit_bytes import limit_line

_HTTPS_PORT: Final = 443
_REFUSED_USER: Final = {
    "exec": "a program for credentials (exec)",
    "auth-provider": "an auth-provider",
    "username": "basic authentication",
    "password": "basic authentication",
    "as": "impersonation",
    "as-uid": "impersonation",
    "as-groups": "impersonation",
    "as-user-extra": "impersonation",
}


class AccessError(RblnError):
    """The access to the API server can't be used. Its text is one line."""

    def __init__(self, text: str) -> None:
        super().__init__(limit_line(text, MAX_ERROR_TEXT))


class ServerAddress(msgspec.Struct, frozen=True):
    """Address of the API server."""

    host: str
    port: int
    prefix: str = ""
    """Beginning of each path, without a slash at its end."""
    tls_name: str = ""
    """The name in the server's certificate; empty: the host."""

    @property
    def host_header(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class ValueSource(msgspec.Struct, frozen=True):
    """Data, or the path of a file with it; at most one is not empty."""

    file: str = ""
    """Relative to the kubeconfig's folder."""
    data: bytes = b""


class AccessSources(msgspec.Struct, frozen=True):
    """Contents of a kubeconfig; its files are not read yet."""

    server: ServerAddress
    ca: ValueSource = ValueSource()
    """Empty: the certificates of the system."""
    token: ValueSource = ValueSource()
    certificate: ValueSource = ValueSource()
    key: ValueSource = ValueSource()


def read_kubeconfig(document: object) -> AccessSources:
    """Return the contents of a kubeconfig. Raises AccessError."""
    config = _as_mapping(document, "kubeconfig")
    name = _text_at(config, "current-context")
    if not name:
        raise AccessError("no current-context")
    context = _named_entry(config, "contexts", "context", name)
    cluster = _named_entry(config, "clusters", "cluster", _text_at(context, "cluster"))
    user = _named_entry(config, "users", "user", _text_at(context, "user"))
    if cluster.get("insecure-skip-tls-verify"):
        raise AccessError("insecure-skip-tls-verify is not supported: give a certificate-authority")
    if cluster.get("proxy-url"):
        raise AccessError("proxy-url is not supported")
    for key, what in _REFUSED_USER.items():
        if user.get(key):
            raise AccessError(f"{what} is not supported: give a token or a client certificate")
    token = ValueSource(data=_text_at(user, "token").encode())
    if file := _text_at(user, "tokenFile"):  # wins, as in client-go
        token = ValueSource(file=file)
    certificate, private_key = (
        _value_source(user, "client-certificate"),
        _value_source(user, "client-key"),
    )
    if (certificate == ValueSource()) != (private_key == ValueSource()):
        raise AccessError("client-certificate and client-key go together")
    return AccessSources(
        parse_server(_text_at(cluster, "server"), _text_at(cluster, "tls-server-name")),
        *(_value_source(cluster, "certificate-authority"), token, certificate, private_key),
    )


def parse_server(url: str, tls_name: str = "") -> ServerAddress:
    """Return the server of a URL. Raises AccessError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AccessError(f"server {url[:200]!r}: {error}") from error
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise AccessError(f"server {url[:200]!r}: https://HOST[:PORT] is needed")
    return ServerAddress(parts.hostname, port or _HTTPS_PORT, parts.path.rstrip("/"), tls_name)


def _named_entry(
    config: Mapping[str, object], plural: str, singular: str, name: str
) -> Mapping[str, object]:
    entries = config.get(plural)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name:
            return _as_mapping(entry.get(singular), f"{singular} {name!r}")
    raise AccessError(f"no {singular} {name!r}")


def _as_mapping(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise AccessError(f"{what} is no mapping")
    return value


def _text_at(mapping: Mapping[str, object], key: str) -> str:
    value = mapping.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AccessError(f"{key} is no text")
    return value


def _value_source(mapping: Mapping[str, object], key: str) -> ValueSource:
    """Return ``key``-data, which wins, or ``key`` (as in client-go)."""
    if encoded := _text_at(mapping, f"{key}-data"):
        try:
            return ValueSource(data=base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError) as error:
            raise AccessError(f"{key}-data: {error}") from error
    return ValueSource(file=_text_at(mapping, key))
