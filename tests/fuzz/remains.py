"""Files that come back from an earlier life, and words of a command line: anybody's."""

import argparse
import contextlib
import fcntl
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rbln_supervisor import cli, options
from rbln_supervisor.config import accepted
from rbln_supervisor.core.config.node_config import ConfigError
from rbln_supervisor.core.events.query import MAX_EVENTS, Query
from rbln_supervisor.ctl import events_command
from rbln_supervisor.ctl.text import parse_since
from rbln_supervisor.doctor import run_dir
from rbln_supervisor.events import log
from rbln_supervisor.exporter import main as exporter
from rbln_supervisor.workers import exit_record, processes
from rbln_worker.host.manifest import FileManifest, remove_files
from rbln_worker.process.event_file import EventReader
from tests.fuzz import claims


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")  # thousands of files a second
    base = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="rb-", dir=base) as folder:
        yield Path(folder)


def events(raw: bytes) -> None:
    """A file of events goes on after any content, and its events can be shown."""
    with _folder() as folder:
        (folder / "pools").mkdir()
        (folder / log.FILE).write_bytes(raw)
        told = log.EventLog(folder)
        told.record_event("supervisor", "started", why="last")
        told.write_pending()
        assert told.problem == ""
        assert EventReader().read_new(folder / log.FILE)[-1].why == "last"
        said = events_command.NodeEvents(folder).read_new(Query())
        assert 0 < len(said) <= MAX_EVENTS
        for event in said:
            assert events_command.event_line(event).isprintable()
        msgspec.json.encode(said)


def ledger(raw: bytes) -> None:
    """A list of files is one or none, and nothing of somebody else's goes."""
    with _folder() as folder:
        other, path = folder / "other", folder / "pool.files"
        other.write_bytes(b"")
        path.write_bytes(raw)
        kept = FileManifest(path)
        assert kept.write_file(folder / "ours", "text", 0o644, flush=False) == ""
        kept.drop_others([folder / "ours"])
        assert kept.save_list() == ""
        path.write_bytes(raw)
        remove_files(path)
        assert other.exists()
        assert (folder / "ours").exists()
        assert not path.exists()


def asked_before(raw: bytes) -> None:
    """Options of an earlier life are options, or the defaults."""
    with _folder() as folder:
        (folder / options.FILE).write_bytes(raw)
        known = options.last_options(folder)
        assert known.kubelet_dirs.device_plugins.is_absolute()
        assert known.host_visible in {True, False}


def accepted_before(raw: bytes) -> None:
    """A start without a file serves a record of ours, or ends with the file's errors."""
    with _folder() as folder:
        (folder / accepted.FILE).write_bytes(raw)
        asked = options.Options(config_file=Path("/nowhere/config.json"), run_dir=folder)
        try:
            start = accepted.start_config(asked)
        except ConfigError as error:
            claims.one_line(error.errors[0])
            return
        assert start.config.pools
        assert not start.config.invalid
        assert start.refused
        claims.one_line(start.former)


def lock(raw: bytes) -> None:
    """Who wrote himself into a lock that somebody else holds is nobody to adopt."""
    with _folder() as folder:
        path = folder / "pool.lock"
        path.write_bytes(raw)
        assert processes.lock_holder(path) is None
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert run_dir.read_lock(path) is not None
            try:
                found = processes.lock_holder(path)
            except PermissionError:
                return
        assert found is not None
        os.close(found.process.pidfd)
        assert found.process.pid == os.getpid()


def last_log(raw: bytes) -> None:
    """The end of a worker's log is a few lines."""
    with _folder() as folder:
        (folder / "tail").write_bytes(raw)
        told = exit_record.last_lines(folder / "tail")
        assert len(told) <= 50
        msgspec.json.encode(told)


def command_line(raw: bytes) -> None:
    """Options, or an end with exit code 2 and words; never a traceback."""
    # The system hands over no NUL, and bytes that are no text as surrogates.
    words = [word.decode(errors="surrogateescape") for word in raw.split(b"\0")]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.parse_arguments(words, in_container=False)
        except SystemExit as end:
            assert end.code in {0, 2}  # noqa: PT017 - 0: --help, --version
        for read in (exporter._parse_address, parse_since):
            try:
                read(words[0])
            except argparse.ArgumentTypeError:
                continue
