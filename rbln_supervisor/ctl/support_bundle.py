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
from rbln_supervisor.core.config.node_config import ConfigError
from rbln_supervisor.core.doctor import redaction
from rbln_supervisor.core.doctor.diagnose import diagnose
from rbln_supervisor.core.doctor.facts import DoctorFacts
from rbln_supervisor.core.events.query import Query
from rbln_supervisor.ctl import (
    doctor_command,
    events_command,
    output,
    rendering,
    status_command,
)
from rbln_supervisor.ctl.doctor import Overrides, gather_facts
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.options import OptionsError, load_options
from rbln_worker.contract.events import Event

MAX_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of all files before compression; the manifest names those that do not fit."""
_PACKAGES: Final = ("grpcio", "protobuf", "pyzmq", "msgspec", "inotify-simple", "rich", "PyYAML")


def write_bundle(where: Overrides, file: Path | None) -> Exit:
    """Write a bundle, and print its manifest."""
    now = datetime.now(UTC)
    path = file or Path(f"rbln-support-{platform.node()}-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    seen = gather_facts(where, listing=True)
    files, manifest = bundle_contents(where, seen, now)
    packed = _pack_files({"MANIFEST.txt": manifest, **files}, path.name.partition(".tar")[0], now)
    try:
        _write_new_file(path, packed)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        output.print_errors(f"{path}: {why}: name a file that is not there yet and can be made")
        return Exit.REFUSED
    output.write_text(f"{path}: {len(files)} files, {len(packed)} bytes\n{manifest}")
    return Exit.UNREACHABLE if seen.unreachable else Exit.DONE


def bundle_contents(
    where: Overrides, seen: DoctorFacts, now: datetime
) -> tuple[dict[str, str], str]:
    """Return the files without secrets, and the manifest."""
    raw, config_problem = _redacted_config(where)
    known = redaction.find_secrets(raw)
    config = redaction.redact_configuration(raw, known) if raw else None
    if config is None and not config_problem:
        config_problem = "it is no document, so that its secrets can't be told from the rest"
    removed: dict[str, int] = {}
    files: dict[str, str] = {}
    left_out: list[str] = []
    room = MAX_BYTES
    if config is not None:
        files["config.json"], removed["config.json"] = config.text, config.removed
    for name, text in _bundle_texts(where, seen, now).items():
        redacted = redaction.redact(text, known)
        if len(redacted.text) > room:
            left_out.append(name)
            continue
        room -= len(redacted.text)
        files[name] = redacted.text
        removed[name] = redacted.removed
    lines = [
        f"rbln-ctl {seen.version} made this on {platform.node()} at {now:%Y-%m-%d %H:%M:%S} UTC",
        f"supervisor: {seen.unreachable or 'answered'}",
        f"secrets removed: {sum(removed.values())}",
        *(f"  {count} from {name}" for name, count in removed.items() if count),
        *([f"config.json is left out: {config_problem}"] if config_problem else []),
        *(f"left out, for it is too large: {name}" for name in left_out),
        *(f"not examined: {name}: {why}" for name, why in seen.errors.items()),
    ]
    # The lines are our own, except for the reasons of failures.
    return files, redaction.redact("\n".join(lines) + "\n", known).text


def _bundle_texts(where: Overrides, seen: DoctorFacts, now: datetime) -> dict[str, str]:
    events: tuple[Event, ...] = ()
    with contextlib.suppress(OSError):  # no run directory: there is no event
        events = events_command.NodeEvents(where.run_dir).read_new(Query())
    found = diagnose(seen)
    quiet = io.StringIO()
    files = {
        "doctor.json": _encode_json(doctor_command.findings_json(seen)),
        "doctor.txt": rendering.render_text(
            lambda _: doctor_command.doctor_page(found, seen.unreachable), quiet
        ),
        "facts.json": _encode_json(msgspec.structs.replace(seen.host, listing=None)),
        "events.jsonl": "".join(msgspec.json.encode(one).decode() + "\n" for one in events),
        "events.txt": "".join(f"{events_command.event_line(one)}\n" for one in events),
        "versions.txt": _version_text(seen),
    }
    status = seen.status
    if status is not None:
        files["status.json"] = _encode_json(status)
        files["status.txt"] = rendering.render_text(
            lambda columns: status_command.status_page(status, columns, now.timestamp()), quiet
        )
    files |= seen.host.listing.files if seen.host.listing else {}
    return files


def _redacted_config(where: Overrides) -> tuple[bytes, str]:
    path = where.config_file
    try:
        path = path or load_options(where.run_dir).config_file
        return config_file.read_file(path), ""
    except OptionsError as error:
        return b"", f"nobody knows where it is ({error}); name it with --config-file"
    except ConfigError as error:
        return b"", "; ".join(error.errors)


def _version_text(seen: DoctorFacts) -> str:
    lines = [f"rbln-ctl {seen.version}", f"python {sys.version}", f"kernel {platform.release()}"]
    if seen.status is not None:
        lines.append(f"rbln-supervisor {seen.status.supervisor.version}")
        lines += [f"worker {n} {p.worker.version}" for n, p in seen.status.pools.items()]
    for name in _PACKAGES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name} is not there")
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
