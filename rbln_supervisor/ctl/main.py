"""The command line of rbln-ctl: what it asks, what it prints, how it ends."""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor import config_file
from rbln_supervisor.core import commands
from rbln_supervisor.core.configuration import config
from rbln_supervisor.core.difference import Plan
from rbln_supervisor.core.explain import Explanation
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl import probe, words


class Exit(IntEnum):
    """How rbln-ctl ends; scripts rely on it. argparse ends with 2 on wrong usage."""

    DONE = 0
    REFUSED = 1
    UNREACHABLE = 3
    INTERRUPTED = 130
    """As a shell says of what was ended by SIGINT."""


_PREFIX: Final = "intel.com"
_ANOTHER: Final = "an answer to another question: are rbln-ctl and the supervisor of one version?"

_REQUESTS: Final[dict[str, commands.Request]] = {
    "status": commands.Status(),
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
        "rescan": "look for devices now",
    }.items():
        verbs.add_parser(
            verb, help=what, description=what, parents=[everywhere], allow_abbrev=False
        )
    what = "read the configuration file again; all of it, or nothing changes"
    reload = verbs.add_parser(
        "reload", help=what, description=what, parents=[everywhere], allow_abbrev=False
    )
    reload.add_argument(
        "--force", action="store_true", help="also where it takes devices that pods have"
    )
    what = "say which pool has a device and why, or why none has it"
    explain = verbs.add_parser(
        "explain", help=what, description=what, parents=[everywhere], allow_abbrev=False
    )
    explain.add_argument(
        "device",
        metavar="DEVICE",
        help="its PCI address (0000:3b:00.0, 3b:00.0), auxiliary name, or interface",
    )
    what = "end with 0 where the supervisor answers (alive), or has all pools listed (ready)"
    asked = verbs.add_parser(
        "probe", help=what, description=what, parents=[everywhere], allow_abbrev=False
    )
    asked.add_argument("question", choices=("alive", "ready"))
    what = "check a configuration file; needs no supervisor"
    validate = verbs.add_parser(
        "validate", help=what, description=what, parents=[everywhere], allow_abbrev=False
    )
    validate.add_argument("file", metavar="FILE", help="a configuration, JSON or YAML")
    validate.add_argument(
        "--resource-prefix",
        metavar="PREFIX",
        help=f"of pools that name none (default: {_PREFIX}; the supervisor's with --against-host)",
    )
    validate.add_argument(
        "--against-host",
        action="store_true",
        help="ask the supervisor what a reload of the file would do; nothing is done",
    )
    return parser


def _run(options: argparse.Namespace) -> Exit:
    as_json: bool = getattr(options, "json", False)
    run_dir: Path = getattr(options, "run_dir", Path("/run/rbln"))
    match options.verb:
        case "validate" if options.against_host:
            return _try(options.file, options.resource_prefix, run_dir, as_json=as_json)
        case "validate":
            return _validate(options.file, options.resource_prefix or _PREFIX, as_json=as_json)
        case "reload":
            return _tell(run_dir, commands.Reload(force=options.force), as_json=as_json)
        case "explain":
            return _tell(run_dir, commands.Explain(options.device), as_json=as_json)
        case "probe":
            return _probe(run_dir, until_ready=options.question == "ready")
        case verb:
            return _tell(run_dir, _REQUESTS[verb], as_json=as_json)


def _tell(run_dir: Path, request: commands.Request, *, as_json: bool) -> Exit:
    """Ask, and print the answer."""
    reply = _ask(run_dir, request)
    match reply:
        case Exit():
            return reply
        case commands.Refused(errors=errors):
            if as_json:
                _print_json(reply)
            _complain(*(errors or ("refused without a reason, see the supervisor's log",)))
            return Exit.REFUSED
        case commands.Node(status=status) if as_json:
            _print_json(status)
        case commands.Explained(explanation=explanation) if as_json:
            _print_json(explanation)
        case _ if as_json:
            _print_json(reply)
        case commands.Reloaded():
            _say(reply)
        case commands.Rescanned(problems=problems):
            _write(f"{words.rescanned(reply)}\n")
            _complain(*problems, said="warning")
        case commands.Node(status=status):
            _write(_page(status))
        case commands.Explained(explanation=explanation):
            _write(_page(explanation))
        case commands.Planned() | commands.Measured():  # nobody asked for it here
            _complain(_ANOTHER)
            return Exit.REFUSED
    return Exit.DONE


def _probe(run_dir: Path, *, until_ready: bool) -> Exit:
    """Answer a kubelet, which shows what is complained of; nothing is printed else."""
    reply = _ask(run_dir, commands.Status())
    match reply:
        case Exit():
            return reply
        case commands.Node(status=status):
            missing = probe.unready(status) if until_ready else ()
            _complain(*missing)
            return Exit.REFUSED if missing else Exit.DONE
        case _:
            _complain(_ANOTHER)
            return Exit.REFUSED


def _say(reply: commands.Reloaded) -> None:
    _write(f"{words.reloaded(reply)}\n")
    if reply.plan and words.is_a_change(reply):
        _write(_page(reply.plan, done=True))
    _complain(*reply.forced, said="forced")
    _complain(*reply.warnings, said="warning")


def _page(answer: NodeStatus | Explanation | Plan, *, done: bool = False) -> str:
    """An answer that is more than a line; ``done``: a plan that has become true."""
    # rich is loaded where people read, and for nothing else
    from rbln_supervisor.ctl import explanation, paper, planned, render  # noqa: PLC0415

    now = datetime.now(UTC).timestamp()
    match answer:
        case NodeStatus():
            return paper.text(lambda columns: render.page(answer, columns, now), sys.stdout)
        case Explanation():
            return paper.text(lambda columns: explanation.page(answer, columns, now), sys.stdout)
        case Plan():
            return paper.text(lambda columns: planned.page(answer, columns, done=done), sys.stdout)


def _ask(run_dir: Path, request: commands.Request) -> commands.Reply | Exit:
    """The answer, or how to end without one."""
    from rbln_supervisor.ctl import client  # noqa: PLC0415 - a validation needs no ZeroMQ

    try:
        return client.ask(run_dir, request)
    except client.UnreachableError as error:
        _complain(str(error))
        return Exit.UNREACHABLE
    except client.UnreadableAnswerError as error:
        _complain(str(error))
        return Exit.REFUSED


def _validate(file: str, prefix: str, *, as_json: bool) -> Exit:
    """Check a file as a reload would: one wrong pool is enough to refuse it."""
    said = "rbln-ctl"  # a file that can't be read is named in what is said of it
    try:
        raw = config_file.read(file)
        said = file
        checked = config.strict(config.parse(raw, prefix=prefix))
    except config.ConfigError as error:
        return _invalid(file, error.errors, error.warnings, said=said, as_json=as_json)
    if as_json:
        names = [pool.spec.name for pool in checked.pools]
        _print_json({"valid": True, "pools": names, "warnings": checked.warnings})
    else:
        _write(f"{words.validated(file, checked)}\n")
        _complain(*checked.warnings, said=f"{file}: warning")
    return Exit.DONE


def _try(file: str, prefix: str | None, run_dir: Path, *, as_json: bool) -> Exit:
    """Have the supervisor check a file, and say what a reload of it would do."""
    try:
        raw = config_file.read(file)
    except config.ConfigError as error:
        return _invalid(file, error.errors, error.warnings, said="rbln-ctl", as_json=as_json)
    reply = _ask(run_dir, commands.DryRun(raw, prefix))
    match reply:
        case commands.Planned(plan=None, errors=errors, warnings=warnings):
            return _invalid(file, errors, warnings, said=file, as_json=as_json)
        case commands.Planned(plan=plan, warnings=warnings, held=held) if plan:
            names = [name for name, pool in plan.pools.items() if pool.change != "removed"]
            if as_json:
                told = {"valid": True, "pools": names, "warnings": warnings, "plan": plan}
                _print_json({**told, "held": held})
            else:
                valid = f"{words.plain(file)}: valid, {words.count(names, 'pool')}"
                _write(f"{valid}; a reload would do this (now, nothing is done):\n{_page(plan)}")
                _complain(*held, said="a reload would be refused")
                _complain(*warnings, said=f"{file}: warning")
            return Exit.DONE
        case commands.Refused(errors=errors):
            if as_json:
                _print_json(reply)
            _complain(*errors)
            return Exit.REFUSED
        case Exit():
            return reply
        case _:
            _complain(_ANOTHER)
            return Exit.REFUSED


def _invalid(
    file: str, errors: Sequence[str], warnings: Sequence[str], *, said: str, as_json: bool
) -> Exit:
    if as_json:
        _print_json({"valid": False, "errors": errors, "warnings": warnings})
    _complain(*errors, said=said)
    _complain(*warnings, said=f"{file}: warning")
    return Exit.REFUSED


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
