"""``rbln-ctl probe``: for a kubelet's probes: the supervisor replies, and all pools are listed."""

import argparse
from typing import Final

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.ctl import client
from rbln_supervisor.ctl.command import Command, CommandError, Exit

READY_TIMEOUT_S: Final = 3.0
"""Less than a kubelet's time-out (5 s in our manifests): a probe that it kills reports no
reason."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("condition", choices=("alive", "ready"))


def _run_command(options: argparse.Namespace) -> Exit:
    """Print only errors, which the kubelet shows."""
    until_ready = options.condition == "ready"
    timeout_s = READY_TIMEOUT_S if until_ready else None
    status = client.request_reply(
        options.run_dir, Status(), StatusReply, timeout_s=timeout_s
    ).status
    if until_ready and (reasons := status.unready_reasons):
        raise CommandError(*reasons)
    return Exit.DONE


COMMAND: Final = Command(
    "exit with 0 if the supervisor replies (alive), or if the kubelet lists all pools (ready)",
    "  rbln-ctl probe ready && echo the kubelet lists every pool\n"
    "  kubectl exec POD -- rbln-ctl probe alive",
    _run_command,
    _add_arguments,
)
