"""The last accepted configuration, kept in the run directory so that a restart can serve it.

A configuration is accepted when it has no errors and is served: at a start, or by a reload that is
kept. If the file has errors at the next start, the last accepted configuration is served and the
file is refused as at a reload. A start without a record fails with the file's errors.
"""

import contextlib
import errno
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config import node_config
from rbln_supervisor.options import Options
from rbln_worker.process.replace_file import replace_file

FILE: Final = "accepted.json"
"""File name in the run directory. Only our user may read it: it has values for containers
(additionalInfo)."""
_FORMAT: Final = 1
_MAX_BYTES: Final = 2 * config_file.MAX_BYTES + 4096
"""Maximum size of the record: the configuration in base64, and the other fields."""

log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True):
    """A configuration that was accepted."""

    format: int
    node: str
    """Name of the node. A record from a cloned disk belongs to another node."""
    config_file: str
    prefix: str
    raw: bytes
    at: datetime


class StartConfig(NamedTuple):
    """The configuration of a starting supervisor."""

    config: node_config.NodeConfig
    read: bytes | tuple[str, ...]
    """Content of the configuration file, or the errors that prevented reading it."""
    refused: tuple[str, ...] = ()
    """Reasons why the file is not served; empty if it is."""
    former: str = ""
    """Text that says which configuration is served instead."""


_DECODER: Final = msgspec.json.Decoder(Record)


def start_config(options: Options) -> StartConfig:
    """Return the configuration to start with: the file's, or the last accepted one if it is wrong.

    Raises:
        ConfigError: The file can't be used, and no other configuration was accepted before.
    """
    found: bytes | None = None
    usable: node_config.NodeConfig | None = None
    try:
        found = config_file.read_file(options.config_file)
        usable = node_config.parse(found, prefix=options.resource_prefix)
        return StartConfig(node_config.require_valid(usable), found)
    except node_config.ConfigError as error:
        failure = error
    record = load_config(options)
    if record is not None and record.raw != found:
        with contextlib.suppress(node_config.ConfigError):  # accepted by another version
            former = node_config.require_valid(
                node_config.parse(record.raw, prefix=options.resource_prefix)
            )
            since = record.at.strftime("%Y-%m-%dT%H:%M:%SZ")
            return StartConfig(
                former,
                failure.errors if found is None else found,
                failure.errors,
                f"the last accepted configuration (of {since}) is served",
            )
    if usable is None or found is None:
        raise failure
    return StartConfig(usable, found)


def save_config(options: Options, raw: bytes) -> None:
    """Save an accepted configuration. A failure is only logged: it matters only at a restart."""
    record = Record(
        _FORMAT,
        os.uname().nodename,
        str(options.config_file),
        options.resource_prefix,
        raw,
        datetime.now(UTC),
    )
    path = options.run_dir / FILE
    try:
        replace_file(path, msgspec.json.encode(record))
    except OSError as error:
        log.warning(
            "cannot save the accepted configuration for a restart",
            extra={"path": str(path), "why": error.strerror},
        )


def load_config(options: Options) -> Record | None:
    """Return the last accepted configuration of this node and these options; None if there is none.

    A record that is corrupt, of a newer version or of another node is ignored.
    """
    try:
        record = _DECODER.decode(_read_record(options.run_dir / FILE))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    wanted = (_FORMAT, os.uname().nodename, str(options.config_file), options.resource_prefix)
    known = (record.format, record.node, record.config_file, record.prefix)
    return record if known == wanted else None


def _read_record(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        # The file is read before the run directory is checked: reject one of another user.
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "not ours", FILE)
        return file.read(_MAX_BYTES)
