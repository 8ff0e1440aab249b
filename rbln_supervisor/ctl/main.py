"""The command line of rbln-ctl: what it asks, what it prints, how it ends."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rbln_supervisor import config_file
from rbln_supervisor.core import commands
from rbln_supervisor.core.configuration import config
from rbln_supervisor.core.difference import Plan
from rbln_supervisor.core.events import Query
from rbln_supervisor.core.explain import Explanation
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl import output, words
from rbln_supervisor.ctl.choice import Choice, chosen, unknown
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.output import complain, write, write_json
from rbln_supervisor.ctl.parser import PREFIX, RUN_DIR, parser

_ANOTHER: Final = "an answer to another question: are rbln-ctl and the supervisor of one version?"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    output.prepare()
    try:
        return _run(parser().parse_args(argv))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last frame of this process
        complain(f"{type(error).__name__}: {error}")
        return Exit.REFUSED
    finally:
        output.close()


def _run(options: argparse.Namespace) -> Exit:
    as_json: bool = getattr(options, "json", False)
    run_dir: Path = getattr(options, "run_dir", RUN_DIR)
    match options.verb:
        case "validate" if options.against_host:
            return _try(options.file, options.resource_prefix, run_dir, as_json=as_json)
        case "validate":
            return _validate(options.file, options.resource_prefix or PREFIX, as_json=as_json)
        case "reload":
            return _tell(run_dir, commands.Reload(force=options.force), as_json=as_json)
        case "explain":
            return _tell(run_dir, commands.Explain(options.device), as_json=as_json)
        case "status":
            return _status(options, run_dir, as_json=as_json)
        case "events":
            return _events(options, run_dir, as_json=as_json)
        case _:
            return _tell(run_dir, commands.Rescan(), as_json=as_json)


def _status(options: argparse.Namespace, run_dir: Path, *, as_json: bool) -> Exit:
    choice = Choice(options.pool, options.unhealthy)
    if options.watch:
        # rich is loaded where people read, and for nothing else
        from rbln_supervisor.ctl import watching  # noqa: PLC0415

        interval_s: float = options.interval
        return watching.watch(run_dir, choice, as_json=as_json, interval_s=interval_s)
    reply = _ask(run_dir, commands.Status())
    match reply:
        case Exit():
            return reply
        case commands.Node(status=status) if none := unknown(status, choice):
            complain(none)
            return Exit.REFUSED
        case commands.Node(status=status) if as_json:
            write_json(chosen(status, choice))
        case commands.Node(status=status):
            write(_page(chosen(status, choice)))
        case commands.Refused() as refused:
            return _refused(refused, as_json=as_json)
        case _:
            complain(_ANOTHER)
            return Exit.REFUSED
    return Exit.DONE


def _events(options: argparse.Namespace, run_dir: Path, *, as_json: bool) -> Exit:
    from rbln_supervisor.ctl import telling  # noqa: PLC0415

    query = Query(options.most, options.pool, options.device, options.since)
    if options.follow:
        return telling.follow(run_dir, query, as_json=as_json)
    return telling.tell(run_dir, query, as_json=as_json)


def _tell(run_dir: Path, request: commands.Request, *, as_json: bool) -> Exit:
    """Ask, and print the answer."""
    reply = _ask(run_dir, request)
    match reply:
        case Exit():
            return reply
        case commands.Refused():
            return _refused(reply, as_json=as_json)
        case (
            commands.Node() | commands.Planned() | commands.Happened() | commands.Measured()
        ):  # nobody asked for it here
            complain(_ANOTHER)
            return Exit.REFUSED
        case commands.Explained(explanation=explanation) if as_json:
            write_json(explanation)
        case _ if as_json:
            write_json(reply)
        case commands.Reloaded():
            _say(reply)
        case commands.Rescanned(problems=problems):
            write(f"{words.rescanned(reply)}\n")
            complain(*problems, said="warning")
        case commands.Explained(explanation=explanation):
            write(_page(explanation))
    return Exit.DONE


def _refused(reply: commands.Refused, *, as_json: bool) -> Exit:
    if as_json:
        write_json(reply)
    complain(*(reply.errors or ("refused without a reason, see the supervisor's log",)))
    return Exit.REFUSED


def _say(reply: commands.Reloaded) -> None:
    write(f"{words.reloaded(reply)}\n")
    if reply.plan and words.is_a_change(reply):
        write(_page(reply.plan, done=True))
    complain(*reply.forced, said="forced")
    complain(*reply.warnings, said="warning")


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
        complain(str(error))
        return Exit.UNREACHABLE
    except client.UnreadableAnswerError as error:
        complain(str(error))
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
        write_json({"valid": True, "pools": names, "warnings": checked.warnings})
    else:
        write(f"{words.validated(file, checked)}\n")
        complain(*checked.warnings, said=f"{file}: warning")
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
                write_json({**told, "held": held})
            else:
                valid = f"{words.plain(file)}: valid, {words.count(names, 'pool')}"
                write(f"{valid}; a reload would do this (now, nothing is done):\n{_page(plan)}")
                complain(*held, said="a reload would be refused")
                complain(*warnings, said=f"{file}: warning")
            return Exit.DONE
        case commands.Refused():
            return _refused(reply, as_json=as_json)
        case Exit():
            return reply
        case _:
            complain(_ANOTHER)
            return Exit.REFUSED


def _invalid(
    file: str, errors: Sequence[str], warnings: Sequence[str], *, said: str, as_json: bool
) -> Exit:
    if as_json:
        write_json({"valid": False, "errors": errors, "warnings": warnings})
    complain(*errors, said=said)
    complain(*warnings, said=f"{file}: warning")
    return Exit.REFUSED
