"""``rbln-ctl rescan``: a discovery, and a health check of all devices, now."""

import argparse
from typing import Final

from rbln_supervisor.core.control.protocol import Rescan, RescanReply
from rbln_supervisor.ctl import client
from rbln_supervisor.ctl.command import Command, Exit
from rbln_supervisor.ctl.output import print_errors, write_json, write_text
from rbln_supervisor.ctl.text import plain
from rbln_worker.contract.problem import count_text


def _run_command(options: argparse.Namespace) -> Exit:
    reply = client.request_reply(options.run_dir, Rescan(), RescanReply)
    if options.json:
        write_json(reply)
    else:
        write_text(f"{rescan_text(reply)}\n")
        print_errors(*(one.text for one in reply.problems), prefix="warning")
    return Exit.DONE


def rescan_text(reply: RescanReply) -> str:
    """Return a sentence, then a line for each pool that changed."""
    functions = count_text(reply.functions, "PCI function")
    changed = count_text(len(reply.changed), "pool") if reply.changed else "no pool"
    head = f"rescanned: {functions}, {changed} changed"
    return "\n".join([head, *(f"  ~ {plain(name)}" for name in reply.changed)])


COMMAND: Final = Command(
    "run a discovery and a health check of all devices now",
    "  modprobe rebellions && rbln-ctl rescan && rbln-ctl status",
    _run_command,
)
