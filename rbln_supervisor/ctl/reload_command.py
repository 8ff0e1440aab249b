"""``rbln-ctl reload``: reads the configuration file again."""

import argparse
from typing import Final

from rbln_supervisor.core.control.protocol import Reload, ReloadReply
from rbln_supervisor.core.matching.plan import CHANGES, Plan
from rbln_supervisor.ctl import client
from rbln_supervisor.ctl.command import Command, Exit
from rbln_supervisor.ctl.output import print_errors, write_json, write_text
from rbln_supervisor.ctl.plan_table import plan_page
from rbln_supervisor.ctl.rendering import print_page
from rbln_worker.contract.problem import count_text


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--force", action="store_true", help="even if pools lose devices that pods use"
    )


def _run_command(options: argparse.Namespace) -> Exit:
    reply = client.request_reply(options.run_dir, Reload(force=options.force), ReloadReply)
    if options.json:
        write_json(reply)
        return Exit.DONE
    write_text(f"{reload_sentence(reply.plan)}\n")
    if _is_change(reply.plan):
        print_page(lambda columns: plan_page(reply.plan, columns))
    print_errors(*reply.forced, prefix="forced")
    print_errors(*reply.warnings, prefix="warning")
    return Exit.DONE


def reload_sentence(plan: Plan) -> str:
    """Return one sentence."""
    if not _is_change(plan):
        return f"reloaded: nothing changed, {count_text(len(plan.pools), 'pool')} as before"
    counts = {change: len(plan.pools_with(change)) for change in CHANGES}
    others = ", ".join(f"{counts[change]} {change}" for change in CHANGES[1:])
    return f"reloaded: {count_text(counts['added'], 'pool')} added, {others}"


def _is_change(plan: Plan) -> bool:
    """Return True if a reload changed a pool, or moved a device."""
    return bool(plan.moves) or any(pool.change != "unchanged" for pool in plan.pools.values())


COMMAND: Final = Command(
    "read the configuration file again; any error in it leaves everything unchanged",
    "  rbln-ctl validate /etc/pcidp/config.json --against-host && rbln-ctl reload\n"
    "  rbln-ctl reload --force",
    _run_command,
    _add_arguments,
)
