"""``rbln-ctl support-bundle``: one file without secrets, for support without access to the node."""

import argparse
import contextlib
import io
import os
import platform
import sys
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config.node_config import ConfigError, parse
from rbln_supervisor.core.doctor import redaction
from rbln_supervisor.core.events.query import Query
from rbln_supervisor.ctl import (
    doctor_command,
    events_command,
    output,
    rendering,
    status_command,
)
from rbln_supervisor.ctl.command import Command, CommandError, Exit
from rbln_supervisor.ctl.doctor import Diagnosis, diagnose_node
from rbln_supervisor.options import Options
from rbln_worker.contract.events import Event
from rbln_worker.contract.version import VERSION


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a new file (default: rbln-support-<host>-<time>.tar.gz in this directory)",
    )
    doctor_command.add_node_arguments(parser)


def _run_command(arguments: argparse.Namespace) -> Exit:
    """Write a bundle, and print its manifest."""
    options = doctor_command.node_options(arguments)
    now = datetime.now(UTC)
    name = f"rbln-support-{platform.node()}-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    path: Path = arguments.file or Path(name)
    found = diagnose_node(options, listing=True)
    files, manifest = _bundle_contents(options, found, now)
    packed = _pack_files({"MANIFEST.txt": manifest, **files}, path.name.partition(".tar")[0], now)
    try:
        _write_new_file(path, packed)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandError(
            f"{path}: {why}: name a file that does not exist and can be created"
        ) from error
    output.write_text(f"{path}: {len(files)} files, {len(packed)} bytes\n{manifest}")
    return Exit.DONE if found.unreachable is None else Exit.UNREACHABLE


def _bundle_contents(
    options: Options, found: Diagnosis, now: datetime
) -> tuple[dict[str, str], str]:
    """Return the files without secrets, and the manifest."""
    lines = [
        f"rbln-ctl {VERSION} made this on {platform.node()} at {now:%Y-%m-%d %H:%M:%S} UTC",
        f"supervisor: {found.unreachable or 'answered'}",
    ]
    files = _bundle_texts(options.run_dir, found, now)
    try:
        raw = config_file.read_file(options.config_file)
        config = parse(raw, prefix=options.resource_prefix)
    except ConfigError as error:
        lines.append(f"config.json is left out: {'; '.join(error.errors)}")
    else:
        files["config.json"] = output.format_json(redaction.redact_config(config))
        lines.append("config.json: values of additionalInfo are removed")
    return files, "\n".join(lines) + "\n"


def _bundle_texts(run_dir: Path, found: Diagnosis, now: datetime) -> dict[str, str]:
    events: tuple[Event, ...] = ()
    with contextlib.suppress(OSError):  # no run directory: there is no event
        events = events_command.NodeEvents(run_dir).read_new(Query())
    pipe = io.StringIO()
    page = doctor_command.doctor_page(found.problems, found.unreachable)
    files = {
        "doctor.json": output.format_json(doctor_command.doctor_report(found)),
        "doctor.txt": rendering.render_text(lambda _: page, pipe),
        "events.jsonl": "".join(f"{events_command.json_line(one)}\n" for one in events),
        "events.txt": "".join(f"{events_command.event_line(one)}\n" for one in events),
        "versions.txt": _version_text(),
    }
    status = found.status
    if status is not None:
        files["status.json"] = output.format_json(status)
        files["status.txt"] = rendering.render_text(
            lambda columns: status_command.status_page(status, columns, now.timestamp()), pipe
        )
    return {**files, **found.files}


def _version_text() -> str:
    lines = [f"rbln-ctl {VERSION}", f"python {sys.version}", f"kernel {platform.release()}"]
    lines += sorted(f"{one.name} {one.version}" for one in metadata.distributions())
    return "\n".join(lines) + "\n"


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
    with open(path, "xb", opener=partial(os.open, mode=0o600)) as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink(missing_ok=True)
            raise


COMMAND: Final = Command(
    "pack status, events, problems and configuration into one file, without secrets",
    "  rbln-ctl support-bundle\n  rbln-ctl support-bundle /tmp/node7.tar.gz",
    _run_command,
    _add_arguments,
)
