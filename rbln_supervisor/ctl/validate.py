"""``rbln-ctl validate``: checks a file, alone or against the node."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.control import protocol
from rbln_supervisor.ctl import wording
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.output import complain, write, write_json
from rbln_supervisor.ctl.parser import PREFIX
from rbln_supervisor.ctl.request import ANOTHER, ask, page, refused


def run(options: argparse.Namespace, run_dir: Path, *, as_json: bool) -> Exit:
    """Check a file as a reload would."""
    if options.against_host:
        return _try(options.file, options.resource_prefix, run_dir, as_json=as_json)
    return _validate(options.file, options.resource_prefix or PREFIX, as_json=as_json)


def _validate(file: str, prefix: str, *, as_json: bool) -> Exit:
    """Check a file as a reload would: one invalid pool is enough to refuse it."""
    said = "rbln-ctl"  # errors of reading contain the file's name
    try:
        raw = config_file.read_file(file)
        said = file
        checked = node_config.require_valid(node_config.parse(raw, prefix=prefix))
    except node_config.ConfigError as error:
        return _invalid(file, error.errors, error.warnings, said=said, as_json=as_json)
    if as_json:
        names = [pool.spec.name for pool in checked.pools]
        write_json({"valid": True, "pools": names, "warnings": checked.warnings})
    else:
        write(f"{wording.validated(file, checked)}\n")
        complain(*checked.warnings, said=f"{file}: warning")
    return Exit.DONE


def _try(file: str, prefix: str | None, run_dir: Path, *, as_json: bool) -> Exit:
    """Request a check by the supervisor, and print the effect of a reload."""
    try:
        raw = config_file.read_file(file)
    except node_config.ConfigError as error:
        return _invalid(file, error.errors, error.warnings, said="rbln-ctl", as_json=as_json)
    reply = ask(run_dir, protocol.DryRun(raw, prefix))
    match reply:
        case protocol.DryRunReply(plan=None, errors=errors, warnings=warnings):
            return _invalid(file, errors, warnings, said=file, as_json=as_json)
        case protocol.DryRunReply(plan=plan, warnings=warnings, held=held) if plan:
            names = [name for name, pool in plan.pools.items() if pool.change != "removed"]
            if as_json:
                told = {"valid": True, "pools": names, "warnings": warnings, "plan": plan}
                write_json({**told, "held": held})
            else:
                valid = f"{wording.plain(file)}: valid, {wording.count(names, 'pool')}"
                write(f"{valid}; a reload would do this (now, nothing is done):\n{page(plan)}")
                complain(*held, said="a reload would be refused")
                complain(*warnings, said=f"{file}: warning")
            return Exit.DONE
        case protocol.ErrorReply():
            return refused(reply, as_json=as_json)
        case Exit():
            return reply
        case _:
            complain(ANOTHER)
            return Exit.REFUSED


def _invalid(
    file: str, errors: Sequence[str], warnings: Sequence[str], *, said: str, as_json: bool
) -> Exit:
    if as_json:
        write_json({"valid": False, "errors": errors, "warnings": warnings})
    complain(*errors, said=said)
    complain(*warnings, said=f"{file}: warning")
    return Exit.REFUSED
