"""``rbln-ctl validate``: checks a file, alone or against the node."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.control import protocol
from rbln_supervisor.ctl import wording
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.output import print_errors, write_json, write_text
from rbln_supervisor.ctl.parser import PREFIX
from rbln_supervisor.ctl.request import ANOTHER, print_refusal, reply_text, request_reply


def run_validation(options: argparse.Namespace, run_dir: Path, *, as_json: bool) -> Exit:
    """Check a file as a reload would."""
    if options.against_host:
        return _try_on_node(options.file, options.resource_prefix, run_dir, as_json=as_json)
    return _validate_file(options.file, options.resource_prefix or PREFIX, as_json=as_json)


def _validate_file(file: str, prefix: str, *, as_json: bool) -> Exit:
    """Check a file as a reload would: one invalid pool is enough to refuse it."""
    said = "rbln-ctl"  # errors of reading contain the file's name
    try:
        raw = config_file.read_file(file)
        said = file
        checked = node_config.require_valid(node_config.parse(raw, prefix=prefix))
    except node_config.ConfigError as error:
        return _print_invalid(file, error.errors, error.warnings, said=said, as_json=as_json)
    if as_json:
        names = [pool.spec.name for pool in checked.pools]
        write_json({"valid": True, "pools": names, "warnings": checked.warnings})
    else:
        write_text(f"{wording.validation_text(file, checked)}\n")
        print_errors(*checked.warnings, said=f"{file}: warning")
    return Exit.DONE


def _try_on_node(file: str, prefix: str | None, run_dir: Path, *, as_json: bool) -> Exit:
    """Request a check by the supervisor, and print the effect of a reload."""
    try:
        raw = config_file.read_file(file)
    except node_config.ConfigError as error:
        return _print_invalid(file, error.errors, error.warnings, said="rbln-ctl", as_json=as_json)
    reply = request_reply(run_dir, protocol.DryRun(raw, prefix))
    match reply:
        case protocol.DryRunReply(plan=None, errors=errors, warnings=warnings):
            return _print_invalid(file, errors, warnings, said=file, as_json=as_json)
        case protocol.DryRunReply(plan=plan, warnings=warnings, held=held) if plan:
            names = [name for name, pool in plan.pools.items() if pool.change != "removed"]
            if as_json:
                told = {"valid": True, "pools": names, "warnings": warnings, "plan": plan}
                write_json({**told, "held": held})
            else:
                valid = f"{wording.plain(file)}: valid, {wording.count(names, 'pool')}"
                write_text(
                    f"{valid}; a reload would do this (now, nothing is done):\n{reply_text(plan)}"
                )
                print_errors(*held, said="a reload would be refused")
                print_errors(*warnings, said=f"{file}: warning")
            return Exit.DONE
        case protocol.ErrorReply():
            return print_refusal(reply, as_json=as_json)
        case Exit():
            return reply
        case _:
            print_errors(ANOTHER)
            return Exit.REFUSED


def _print_invalid(
    file: str, errors: Sequence[str], warnings: Sequence[str], *, said: str, as_json: bool
) -> Exit:
    if as_json:
        write_json({"valid": False, "errors": errors, "warnings": warnings})
    print_errors(*errors, said=said)
    print_errors(*warnings, said=f"{file}: warning")
    return Exit.REFUSED
