"""``rbln-ctl support-bundle``: one file without secrets, for support without access to the node."""

import contextlib
import io
import os
import platform
import sys
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config.node_config import ConfigError, NodeConfig, parse
from rbln_supervisor.core.doctor import redaction
from rbln_supervisor.core.events.query import Query
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl import (
    doctor_command,
    events_command,
    output,
    rendering,
    status_command,
)
from rbln_supervisor.ctl.doctor import Diagnosis, Overrides, diagnose_node
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.options import Options, OptionsError, load_options
from rbln_worker.contract.events import Event
from rbln_worker.contract.version import VERSION

MAX_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of all files before compression; the manifest names those that do not fit."""
_PACKAGES: Final = ("grpcio", "protobuf", "pyzmq", "msgspec", "inotify-simple", "rich", "PyYAML")


def write_bundle(where: Overrides, file: Path | None) -> Exit:
    """Write a bundle, and print its manifest."""
    now = datetime.now(UTC)
    path = file or Path(f"rbln-support-{platform.node()}-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    found = diagnose_node(where, listing=True)
    files, manifest = bundle_contents(where, found, now)
    packed = _pack_files({"MANIFEST.txt": manifest, **files}, path.name.partition(".tar")[0], now)
    try:
        _write_new_file(path, packed)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        output.print_errors(f"{path}: {why}: name a file that does not exist and can be created")
        return Exit.REFUSED
    output.write_text(f"{path}: {len(files)} files, {len(packed)} bytes\n{manifest}")
    return Exit.DONE if found.unreachable is None else Exit.UNREACHABLE


def bundle_contents(
    where: Overrides, found: Diagnosis, now: datetime
) -> tuple[dict[str, str], str]:
    """Return the files without secrets, and the manifest."""
    lines = [
        f"rbln-ctl {VERSION} made this on {platform.node()} at {now:%Y-%m-%d %H:%M:%S} UTC",
        f"supervisor: {found.unreachable or 'answered'}",
    ]
    files: dict[str, str] = {}
    room = MAX_BYTES
    texts = _bundle_texts(where, found, now)
    try:
        config = _read_config(where)
    except (ConfigError, OptionsError) as error:
        reasons = error.errors if isinstance(error, ConfigError) else (str(error),)
        lines.append(f"config.json is left out: {'; '.join(reasons)}")
    else:
        texts["config.json"] = _encode_json(redaction.redact_config(config))
        lines.append("config.json: values of additionalInfo are removed")
    for name, text in texts.items():
        if len(text) > room:
            lines.append(f"left out, for it is too large: {name}")
            continue
        room -= len(text)
        files[name] = text
    return files, "\n".join(lines) + "\n"


def _bundle_texts(where: Overrides, found: Diagnosis, now: datetime) -> dict[str, str]:
    events: tuple[Event, ...] = ()
    with contextlib.suppress(OSError):  # no run directory: there is no event
        events = events_command.NodeEvents(where.run_dir).read_new(Query())
    pipe = io.StringIO()
    page = doctor_command.doctor_page(found.problems, found.unreachable)
    files = {
        "doctor.json": _encode_json(doctor_command.diagnosis_json(found)),
        "doctor.txt": rendering.render_text(lambda _: page, pipe),
        "events.jsonl": "".join(msgspec.json.encode(one).decode() + "\n" for one in events),
        "events.txt": "".join(f"{events_command.event_line(one)}\n" for one in events),
        "versions.txt": _version_text(found.status),
    }
    status = found.status
    if status is not None:
        files["status.json"] = _encode_json(status)
        files["status.txt"] = rendering.render_text(
            lambda columns: status_command.status_page(status, columns, now.timestamp()), pipe
        )
    return {**files, **found.files}


def _read_config(where: Overrides) -> NodeConfig:
    """Return the configuration. Raises ConfigError, OptionsError."""
    try:
        options = load_options(where.run_dir)
    except OptionsError:
        if where.config_file is None:
            raise
        options = Options()
    raw = config_file.read_file(where.config_file or options.config_file)
    return parse(raw, prefix=options.resource_prefix)


def _version_text(status: NodeStatus | None) -> str:
    lines = [f"rbln-ctl {VERSION}", f"python {sys.version}", f"kernel {platform.release()}"]
    if status is not None:
        lines.append(f"rbln-supervisor {status.supervisor.version}")
        lines += [f"worker {n} {p.worker.version}" for n, p in status.pools.items()]
    for name in _PACKAGES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join(lines) + "\n"


def _encode_json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _pack_files(files: Mapping[str, str], folder: str, now: datetime) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, text in files.items():
            content = text.encode(errors="replace")
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(now.timestamp())
            tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def _write_new_file(path: Path, content: bytes) -> None:
    """Create a file for its owner only; never follow a link, never replace a file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError:
        path.unlink(missing_ok=True)
        raise
