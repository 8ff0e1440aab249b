"""``rbln-ctl validate``: checks a file, alone or against the node."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.control.protocol import DryRun, DryRunReply
from rbln_supervisor.ctl.command import Command, Exit
from rbln_supervisor.ctl.output import print_errors, write_json, write_text
from rbln_supervisor.ctl.text import plain
from rbln_worker.contract.problem import count_text

PREFIX: Final = "intel.com"
"""Also the supervisor's default."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a configuration, JSON or YAML")
    parser.add_argument(
        "--resource-prefix",
        metavar="PREFIX",
        help="prefix of pools that name none "
        f"(default: {PREFIX}; with --against-host the supervisor's)",
    )
    parser.add_argument(
        "--against-host",
        action="store_true",
        help="show the effect of a reload of the file; nothing is changed",
    )


def _run_command(options: argparse.Namespace) -> Exit:
    prefix = "rbln-ctl"  # errors of reading contain the file's name
    try:
        content = config_file.read_file(options.file)
        if options.against_host:
            return _try_on_node(options, content)
        prefix = options.file
        config = node_config.require_valid(
            node_config.parse(content, prefix=options.resource_prefix or PREFIX)
        )
    except node_config.ConfigError as error:
        return _print_invalid(options, error.errors, error.warnings, prefix=prefix)
    if options.json:
        names = [pool.spec.name for pool in config.pools]
        write_json({"valid": True, "pools": names, "warnings": config.warnings})
        return Exit.DONE
    write_text(f"{_valid_sentence(options.file, config.pools)}\n")
    for pool in config.pools:
        selectors = count_text(len(pool.selectors), "selector object")
        write_text(f"  {pool.spec.name} ({pool.spec.device_type}, {selectors})\n")
    print_errors(*config.warnings, prefix=f"{options.file}: warning")
    return Exit.DONE


def _valid_sentence(file: str, pools: Sequence[object]) -> str:
    return f"{plain(file)}: valid, {count_text(len(pools), 'pool')}"


def _try_on_node(options: argparse.Namespace, content: bytes) -> Exit:
    """Request a dry run from the supervisor, and print the effect of a reload."""
    # Only here: a check of the file alone needs neither ZeroMQ nor rich.
    from rbln_supervisor.ctl import client  # noqa: PLC0415
    from rbln_supervisor.ctl.plan_table import plan_page  # noqa: PLC0415
    from rbln_supervisor.ctl.rendering import print_page  # noqa: PLC0415

    run_dir: Path = options.run_dir
    reply = client.request_reply(run_dir, DryRun(content, options.resource_prefix), DryRunReply)
    plan = reply.plan
    if plan is None:
        return _print_invalid(options, reply.errors, reply.warnings, prefix=options.file)
    names = [name for name, pool in plan.pools.items() if pool.change != "removed"]
    if options.json:
        valid = {"valid": True, "pools": names, "warnings": reply.warnings}
        write_json({**valid, "plan": plan, "conflicts": reply.conflicts})
    else:
        sentence = _valid_sentence(options.file, names)
        write_text(f"{sentence}; a reload would have this effect (nothing was changed):\n")
        print_page(lambda columns: plan_page(plan, columns))
        print_errors(*reply.conflicts, prefix="a reload would be refused")
        print_errors(*reply.warnings, prefix=f"{options.file}: warning")
    return Exit.DONE


def _print_invalid(
    options: argparse.Namespace, errors: Sequence[str], warnings: Sequence[str], *, prefix: str
) -> Exit:
    if options.json:
        write_json({"valid": False, "errors": errors, "warnings": warnings})
    print_errors(*errors, prefix=prefix)
    print_errors(*warnings, prefix=f"{options.file}: warning")
    return Exit.REFUSED


COMMAND: Final = Command(
    "check a configuration file; needs no supervisor",
    "  rbln-ctl validate /etc/pcidp/config.json\n  rbln-ctl validate new.yaml --against-host",
    _run_command,
    _add_arguments,
)
