"""The command line of rbln-ctl: what it asks, what it prints, how it ends."""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor import config_file
from rbln_supervisor.core import commands
from rbln_supervisor.core.configuration import config
from rbln_supervisor.ctl import words


class Exit(IntEnum):
    """How rbln-ctl ends; scripts rely on it. argparse ends with 2 on wrong usage."""

    DONE = 0
    REFUSED = 1
    UNREACHABLE = 3
    INTERRUPTED = 130
    """As a shell says of what was ended by SIGINT."""


_REQUESTS: Final[dict[str, commands.Request]] = {
    "status": commands.Status(),
    "reload": commands.Reload(),
    "rescan": commands.Rescan(),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every locale can say all we print
    try:
        return _run(_parser().parse_args(argv))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last frame of this process
        _complain(f"{type(error).__name__}: {error}")
        return Exit.REFUSED
    finally:
        _close_output()


def _parser() -> argparse.ArgumentParser:
    everywhere = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    everywhere.add_argument(
        "--run-dir",
        type=Path,
        default=argparse.SUPPRESS,  # or a verb's default would undo what stands before the verb
        metavar="DIR",
        help="the supervisor's folder (default: /run/rbln)",
    )
    everywhere.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
    )
    parser = argparse.ArgumentParser(
        prog="rbln-ctl",
        description="Ask the Rebellions device plugin's supervisor on this node.",
        epilog="Ends with 0; 1 refused or failed; 2 wrong usage; 3 supervisor not reachable.",
        parents=[everywhere],
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for verb, what in {
        "status": "show pools, workers and devices",
        "reload": "read the configuration file again; all of it, or nothing changes",
        "rescan": "look for devices now",
    }.items():
        verbs.add_parser(
            verb, help=what, description=what, parents=[everywhere], allow_abbrev=False
        )
    what = "check a configuration file; needs no supervisor"
    validate = verbs.add_parser(
        "validate", help=what, description=what, parents=[everywhere], allow_abbrev=False
    )
    validate.add_argument("file", metavar="FILE", help="a configuration, JSON or YAML")
    validate.add_argument(
        "--resource-prefix",
        default="intel.com",
        metavar="PREFIX",
        help="of pools that name none (default: intel.com)",
    )
    return parser


def _run(options: argparse.Namespace) -> Exit:
    as_json: bool = getattr(options, "json", False)
    if options.verb == "validate":
        return _validate(options.file, options.resource_prefix, as_json=as_json)
    run_dir: Path = getattr(options, "run_dir", Path("/run/rbln"))
    return _ask(run_dir, _REQUESTS[options.verb], as_json=as_json)


def _ask(run_dir: Path, request: commands.Request, *, as_json: bool) -> Exit:
    from rbln_supervisor.ctl import client  # noqa: PLC0415 - a validation needs no ZeroMQ

    try:
        reply = client.ask(run_dir, request)
    except client.UnreachableError as error:
        _complain(str(error))
        return Exit.UNREACHABLE
    except client.UnreadableAnswerError as error:
        _complain(str(error))
        return Exit.REFUSED
    match reply:
        case commands.Refused(errors=errors):
            if as_json:
                _print_json(reply)
            _complain(*(errors or ("refused without a reason, see the supervisor's log",)))
            return Exit.REFUSED
        case commands.Node(status=status) if as_json:
            _print_json(status)
        case _ if as_json:
            _print_json(reply)
        case commands.Node(status=status):
            from rbln_supervisor.ctl import render  # noqa: PLC0415 - rich only where people read

            _write(render.text(status, sys.stdout))
        case commands.Reloaded(warnings=warnings):
            _write(f"{words.reloaded(reply)}\n")
            _complain(*warnings, said="warning")
        case commands.Rescanned(problems=problems):
            _write(f"{words.rescanned(reply)}\n")
            _complain(*problems, said="warning")
    return Exit.DONE


def _validate(file: str, prefix: str, *, as_json: bool) -> Exit:
    """Check a file as a reload would: one wrong pool is enough to refuse it."""
    said = "rbln-ctl"  # a file that can't be read is named in what is said of it
    try:
        raw = config_file.read(file)
        said = file
        checked = config.strict(config.parse(raw, prefix=prefix))
    except config.ConfigError as error:
        if as_json:
            _print_json({"valid": False, "errors": error.errors, "warnings": error.warnings})
        _complain(*error.errors, said=said)
        _complain(*error.warnings, said=f"{file}: warning")
        return Exit.REFUSED
    if as_json:
        names = [pool.spec.name for pool in checked.pools]
        _print_json({"valid": True, "pools": names, "warnings": checked.warnings})
    else:
        _write(f"{words.validated(file, checked)}\n")
        _complain(*checked.warnings, said=f"{file}: warning")
    return Exit.DONE


def _print_json(value: object) -> None:
    _write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _write(text: str) -> None:
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # the reader has enough, as with ``| head``; that is no failure


def _complain(*lines: str, said: str = "rbln-ctl") -> None:
    with contextlib.suppress(OSError):  # nobody listens; the exit code still tells
        for line in lines:
            print(words.plain(f"{said}: {line}"), file=sys.stderr, flush=True)


def _close_output() -> None:
    """Let Python's own flush at the end find nothing to say, or nowhere to fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
