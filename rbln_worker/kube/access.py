"""Access to the API server: its address and our credentials, read again when their files change."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.core.kube.kubeconfig import (
    AccessError,
    AccessSources,
    ServerAddress,
    ValueSource,
    read_kubeconfig,
)
from rbln_worker.spec import SERVICE_ACCOUNT

_MAX_FILE_BYTES: Final = 1 << 20


class Credentials(msgspec.Struct, frozen=True):
    """Contents of all files at one moment."""

    server: ServerAddress
    ca: bytes = b""
    """Certificates (PEM); empty: those of the system."""
    token: str = ""
    certificate: bytes = b""
    key: bytes = b""

    @property
    def connection_part(self) -> tuple[ServerAddress, bytes, bytes, bytes]:
        """Everything that a connection depends on."""
        return self.server, self.ca, self.certificate, self.key


class ClusterAccess:
    """Credentials that follow their files.

    Projected tokens and CAs are replaced while we run: each call compares the files' inode, time
    and size (a stat(2) each, a few microseconds).
    """

    def __init__(
        self,
        kubeconfig: Path | None,
        *,
        folder: Path = SERVICE_ACCOUNT,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Read the files of a kubeconfig; None: those of the pod's service account."""
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._environment = environment
        self._marks: dict[Path, tuple[int, ...]] = {}
        """Inode, time of change (nanoseconds) and size of each file that was read."""
        self._context: ssl.SSLContext | None = None
        self._credentials: Credentials | None = None

    def current_credentials(self) -> Credentials:
        """Return the credentials, read again if a file has changed. Raises AccessError."""
        if self._credentials is None:
            self._credentials = self._read_all()
        elif any(_file_mark(path) != mark for path, mark in self._marks.items()):
            self.read_again()
        return self._credentials

    def read_again(self) -> bool:
        """Read all files; return True if anything is new. What can't be read stays as it was."""
        try:
            new = self._read_all()
        except AccessError:
            return False  # a file is being replaced: the next call reads it
        changed = new != self._credentials
        if self._credentials is None or new.connection_part != self._credentials.connection_part:
            self._context = None
        self._credentials = new
        return changed

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS settings for a new connection. Raises AccessError."""
        if self._context is None:
            self._context = _tls_context(self.current_credentials())
        return self._context

    def _read_all(self) -> Credentials:
        self._marks = {}
        if self._kubeconfig is not None:
            base = self._kubeconfig.parent
            document = _parse_document(self._kubeconfig, self._read_file(self._kubeconfig))
            try:
                sources = read_kubeconfig(document)
            except AccessError as error:
                raise AccessError(f"{self._kubeconfig}: {error}") from error
        else:
            base, sources = self._folder, self._service_account()
        token = self._read_source(base, sources.token).decode("ascii", "replace").strip()
        if not token.isprintable():
            raise AccessError("the token is no line of ASCII text")
        return Credentials(
            sources.server,
            ca=self._read_source(base, sources.ca),
            token=token,
            certificate=self._read_source(base, sources.certificate),
            key=self._read_source(base, sources.key),
        )

    def _service_account(self) -> AccessSources:
        host = self._environment.get("KUBERNETES_SERVICE_HOST", "")
        port = self._environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not port.isdecimal():
            raise AccessError("no kubeconfig, and not in a pod: KUBERNETES_SERVICE_HOST is not set")
        return AccessSources(
            ServerAddress(host, int(port)),
            ca=ValueSource(file="ca.crt"),
            token=ValueSource(file="token"),
        )

    def _read_source(self, base: Path, source: ValueSource) -> bytes:
        return self._read_file(base / source.file) if source.file else source.data

    def _read_file(self, path: Path) -> bytes:
        self._marks[path] = _file_mark(path)  # first: what changes meanwhile is read again
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            raise AccessError(f"{path}: {error.strerror}") from error
        if len(data) > _MAX_FILE_BYTES:
            raise AccessError(f"{path}: larger than {_MAX_FILE_BYTES} bytes")
        return data


def _file_mark(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _parse_document(path: Path, data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    import yaml  # noqa: PLC0415 - a pod's service account has no YAML, and it takes 3 MiB

    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise AccessError(f"{path}: neither JSON nor YAML: {error}") from error


def _tls_context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if credentials.ca:
            context.load_verify_locations(cadata=credentials.ca.decode("ascii", "replace"))
        else:
            context.load_default_certs()
        if credentials.certificate:
            _load_certificate(context, credentials)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise AccessError(f"certificates of the API access: {error}") from error
    return context


def _load_certificate(context: ssl.SSLContext, credentials: Credentials) -> None:
    """Load the client certificate. OpenSSL takes files only: here one in memory."""
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, b"%b\n%b\n" % (credentials.certificate, credentials.key))
        # A password would be asked for on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=b"")
    finally:
        os.close(descriptor)
