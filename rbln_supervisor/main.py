"""The command line of rbln-supervisor: options in, one life, an exit code out."""

import contextlib
import faulthandler
import fcntl
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final, TextIO

import zmq

from rbln_supervisor import children, config_file
from rbln_supervisor.announcer import announcer
from rbln_supervisor.arguments import parse
from rbln_supervisor.core.commands import CONTROL_SOCKET, REQUEST_BYTES_MOST
from rbln_supervisor.core.configuration import config
from rbln_supervisor.options import Options
from rbln_supervisor.router import NotBound, Router
from rbln_supervisor.supervisor import Supervisor
from rbln_worker import log
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.messages import FRAME_BYTES_MOST
from rbln_worker.link import WORKERS_SOCKET

_QUEUED_MOST = 16
"""Messages that wait for a peer that doesn't read. To a worker each is a whole state or one step:
one that missed some asks for a snapshot, and its beats tell if it is behind."""

_LOCK_WITHIN_S: Final = 2.0
"""What a predecessor has to end; a look at the node that it had just forked lets go at once."""
_LOCK_AGAIN_S: Final = 0.02

_log = logging.getLogger(__name__)


class CannotStart(Exception):
    """Nothing was started; the text says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit code (contract/exits.py), by argparse for wrong usage."""
    options = parse(sys.argv[1:] if argv is None else argv, in_container=in_container(os.environ))
    try:
        return _run(options)
    except config.ConfigError as error:
        complaints = error.errors
    except (CannotStart, NotBound) as error:
        complaints = (str(error),)
    except Exception:  # noqa: BLE001 - the last frame of this process
        log.last_words(traceback.format_exc())
        return Exit.CRASHED
    if options.log_format == "json":
        log.setup("supervisor", options.log_level, options.log_format)
    for complaint in complaints:
        if options.log_format == "json":
            _log.critical(complaint)
        else:
            print(f"rbln-supervisor: {complaint}", file=sys.stderr)  # noqa: T201
    return Exit.UNUSABLE


def in_container(environment: Mapping[str, str]) -> bool:
    """Whether the root directory is a container's own, so that the host's files aren't there.

    Kubernetes sets the first variable in every container, podman and systemd-nspawn the second.
    """
    return (
        "KUBERNETES_SERVICE_HOST" in environment
        or "container" in environment
        or Path("/.dockerenv").exists()
    )


def _run(options: Options) -> int:
    os.umask(0o022)
    raw = config_file.read(options.config_file)
    configured = config.parse(raw, prefix=options.resource_prefix)
    log.setup("supervisor", options.log_level, options.log_format)
    _note(configured)
    tell = announcer(os.environ)
    # systemd ends one that hangs by SIGABRT: where it hung stands in the log then.
    faulthandler.enable()
    with _run_dir_lock(options.run_dir):
        children.warm()
        context = zmq.Context()
        with (
            Router(
                context,
                options.run_dir / WORKERS_SOCKET,
                bytes_most=FRAME_BYTES_MOST,
                queued=_QUEUED_MOST,
            ) as hub,
            Router(
                context,
                options.run_dir / CONTROL_SOCKET,
                bytes_most=REQUEST_BYTES_MOST,
                queued=_QUEUED_MOST,
            ) as control,
        ):
            code = Supervisor(options, configured, raw, hub, control, tell).run()
        context.term()
        for name in (WORKERS_SOCKET, CONTROL_SOCKET):
            (options.run_dir / name).unlink(missing_ok=True)
        return code


def _note(configured: config.NodeConfig) -> None:
    for warning in configured.warnings:
        _log.warning(warning)
    for pool in configured.invalid:
        for complaint in pool.complaints:
            _log.error("pool is invalid", extra={"pool": pool.name, "why": str(complaint)})


@contextlib.contextmanager
def _run_dir_lock(run_dir: Path) -> Iterator[None]:
    """Be the only supervisor of a run directory (flock(2): the kernel lets go at our end)."""
    try:
        (run_dir / "pools").mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (run_dir / "supervisor.lock").open("a+")
    except OSError as error:
        raise CannotStart(
            f"{error.filename or run_dir}: {error.strerror}: --run-dir has to be a folder that "
            "can be written to"
        ) from error
    with file:
        if not _take(file):
            file.seek(0)
            raise CannotStart(
                f"another rbln-supervisor (pid {file.read(16).strip() or 'unknown'}) serves from "
                f"{run_dir}: stop it, or give this one a --run-dir of its own"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _take(file: TextIO) -> bool:
    """Lock the file, or say that a predecessor did not let go of it in time."""
    end = monotonic() + _LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= end:
                return False
            # flock(2) has no deadline, and no descriptor tells when a lock is free.
            sleep(_LOCK_AGAIN_S)
        else:
            return True
