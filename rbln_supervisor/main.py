"""The command line of rbln-supervisor: options in, one run of the supervisor, an exit code out."""

import contextlib
import faulthandler
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import zmq

from rbln_supervisor import run_dir, upgrade
from rbln_supervisor.cli import parse_arguments
from rbln_supervisor.config import accepted
from rbln_supervisor.config.config_file import in_file
from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.control.protocol import CONTROL_SOCKET, MAX_REQUEST_BYTES
from rbln_supervisor.discovery.process import DDPTOOL_KEEPS, DISCOVERY_KEEPS
from rbln_supervisor.options import Options, save_options
from rbln_supervisor.reporting.systemd import systemd_notifier
from rbln_supervisor.supervisor import Supervisor
from rbln_supervisor.workers import processes
from rbln_supervisor.workers.router import BindError, Router
from rbln_worker.channel.dealer import WORKERS_SOCKET
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.messages import MAX_FRAME_BYTES
from rbln_worker.contract.version import VERSION
from rbln_worker.process import limits, log
from rbln_worker.process.privileges import Capability, PrivilegeError, keep_only

_KEPT: Final = (
    Capability.DAC_OVERRIDE,  # a configuration file may belong to another user
    Capability.SETPCAP,  # to remove the others from workers for good
    *DISCOVERY_KEEPS,
    *DDPTOOL_KEEPS,
)

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal; return the exit code (contract/exits.py). Wrong usage: argparse exits."""
    options = parse_arguments(
        sys.argv[1:] if argv is None else argv,
        in_container=in_container(os.environ),
        environment=os.environ,
    )
    try:
        return _check_start(options) if options.check else _run_supervisor(options)
    except node_config.ConfigError as error:
        complaints = in_file(options.config_file, error.errors)
    except (run_dir.RunDirError, BindError) as error:
        complaints = (str(error),)
    except PrivilegeError as error:
        complaints = (f"cannot drop its privileges ({error}): it has to be allowed to",)
    except Exception:  # noqa: BLE001 - the last frame of this process
        log.write_crash(traceback.format_exc())
        return Exit.CRASHED
    if options.log_format == "json":
        log.setup_log("supervisor", options.log_level, options.log_format)
    for complaint in complaints:
        if options.log_format == "json":
            _log.critical(complaint)
        else:
            print(f"rbln-supervisor: {complaint}", file=sys.stderr)  # noqa: T201
    return Exit.UNUSABLE


def in_container(environment: Mapping[str, str]) -> bool:
    """Return True if the root directory is a container's own, without the host's files.

    Kubernetes sets the first variable in every container, podman and systemd-nspawn the second.
    """
    return (
        "KUBERNETES_SERVICE_HOST" in environment
        or "container" in environment
        or Path("/.dockerenv").exists()
    )


def _check_start(options: Options) -> int:
    """Check that a supervisor could be started; raise the same errors as a start."""
    start = accepted.start_config(options)
    for complaint in start.refused:
        print(f"rbln-supervisor: refused: {complaint}")  # noqa: T201
    print(f"rbln-supervisor {VERSION}: options and configuration can be used")  # noqa: T201
    return Exit.DRAINED


def _run_supervisor(options: Options) -> int:
    os.umask(0o077)
    limits.disable_core_dumps()
    limits.raise_open_files()
    if os.environ.get("SUPERVISOR_ENABLED"):  # set by supervisord
        log.use_stderr_of(os.getppid())
    keep_only(*_KEPT)
    start = accepted.start_config(options)
    log.setup_log("supervisor", options.log_level, options.log_format)
    _log_config_problems(start.config)
    notifier = systemd_notifier(os.environ)
    # systemd ends a supervisor that hangs with SIGABRT: the log then has the place where it hung.
    faulthandler.enable()
    processes.reap_leftovers()
    with run_dir.lock_run_dir(options.run_dir):
        with contextlib.suppress(OSError):  # needed only by rbln-ctl doctor without a supervisor
            save_options(options)
        processes.preload()
        context = zmq.Context()
        workers, control = options.run_dir / WORKERS_SOCKET, options.run_dir / CONTROL_SOCKET
        with (
            Router(context, workers, max_bytes=MAX_FRAME_BYTES) as hub,
            Router(context, control, max_bytes=MAX_REQUEST_BYTES) as clients,
        ):
            supervisor = Supervisor(options, start, hub, clients, notifier)
            code = supervisor.run()
        context.term()
        if supervisor.upgrade.is_ready:
            upgrade.become_installed()
        for path in (workers, control):
            with contextlib.suppress(OSError):  # removed, or another file in its place
                path.unlink()
        return code


def _log_config_problems(configured: node_config.NodeConfig) -> None:
    for warning in configured.warnings:
        _log.warning(warning)
    for pool in configured.invalid:
        for complaint in pool.complaints:
            _log.error("pool is invalid", extra={"pool": pool.name, "why": str(complaint)})
