"""The last accepted configuration, kept in the run directory: with it a restart serves on.

A configuration is accepted when all of it is right and it is served: at a start, or by a reload
that stays. Where the file is wrong at the next start, what was accepted last is served and the file
is refused as a reload would be. A start without a record ends with the file's errors.
"""

import contextlib
import errno
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor import config_file
from rbln_supervisor.core.configuration import config
from rbln_supervisor.options import Options

FILE: Final = "accepted.json"
"""In the run directory, for nobody else: it holds what containers are told (additionalInfo)."""
ASIDE: Final = f"{FILE}.new"
_FORMAT: Final = 1
_MAX_BYTES: Final = 2 * config_file.SIZE_MOST + 4096
"""The file's bytes in base64, and a few words."""

log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True):
    """A configuration that was accepted."""

    format: int
    node: str
    """Its node's name: a cloned disk is another node's."""
    config_file: str
    prefix: str
    raw: bytes
    at: float
    """Seconds since the epoch."""


class StartConfig(NamedTuple):
    """What a supervisor begins with."""

    config: config.NodeConfig
    read: bytes | tuple[str, ...]
    """What the configuration file was: its bytes, or why it had none."""
    refused: tuple[str, ...] = ()
    """Why the file is not what is served; empty where it is."""
    former: str = ""
    """What is served instead, in words."""


_DECODER: Final = msgspec.json.Decoder(Record)


def start_config(options: Options) -> StartConfig:
    """The configuration to begin with: the file's, or the last accepted one where it is wrong.

    Raises:
        ConfigError: The file can't be used, and no other was accepted before.
    """
    found: bytes | None = None
    try:
        found = config_file.read(options.config_file)
        configured = config.parse(found, prefix=options.resource_prefix)
        try:
            return StartConfig(config.strict(configured), found)
        except config.ConfigError as error:
            usable, failure = configured, error
    except config.ConfigError as error:
        usable, failure = None, error
    record = load(options)
    if record is not None and record.raw != found:
        with contextlib.suppress(config.ConfigError):  # accepted by another version
            former = config.strict(config.parse(record.raw, prefix=options.resource_prefix))
            since = datetime.fromtimestamp(record.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return StartConfig(
                former,
                failure.errors if found is None else found,
                failure.errors,
                f"the last accepted configuration (of {since}) is served",
            )
    if usable is None or found is None:
        raise failure
    return StartConfig(usable, found)


def save(options: Options, raw: bytes) -> None:
    """Keep an accepted configuration; one that can't be kept is only missed at a restart."""
    record = Record(
        _FORMAT,
        os.uname().nodename,
        str(options.config_file),
        options.resource_prefix,
        raw,
        round(datetime.now(UTC).timestamp(), 3),
    )
    aside = options.run_dir / ASIDE
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(record))
        aside.replace(options.run_dir / FILE)
    except OSError as error:
        log.warning(
            "the accepted configuration can't be kept for a restart",
            extra={"path": str(aside), "why": error.strerror},
        )


def load(options: Options) -> Record | None:
    """The last accepted configuration of this node and of these options; None where there is none.

    What is no record of ours counts for nothing: corrupt, of a newer version, of another node.
    """
    try:
        raw = _read(options.run_dir / FILE)
        record = _DECODER.decode(raw)
        datetime.fromtimestamp(record.at, UTC)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    except OverflowError:  # no time of this world
        return None
    wanted = (_FORMAT, os.uname().nodename, str(options.config_file), options.resource_prefix)
    known = (record.format, record.node, record.config_file, record.prefix)
    return record if known == wanted else None


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        # It is read before the run directory is checked: nobody else's file is served.
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "not ours", FILE)
        return file.read(_MAX_BYTES)
