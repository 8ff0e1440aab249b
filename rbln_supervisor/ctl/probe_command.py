"""``rbln-ctl probe``: for a kubelet's probes: the supervisor replies, and all pools are listed."""

import argparse
from collections.abc import Iterator
from typing import Final

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl import client
from rbln_supervisor.ctl.command import Command
from rbln_supervisor.ctl.exits import CommandError, Exit

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
    if until_ready and (reasons := unready_reasons(status)):
        raise CommandError(*reasons)
    return Exit.DONE


def unready_reasons(status: NodeStatus) -> tuple[str, ...]:
    """Return the reasons why a node is not ready, one line each; empty if it is.

    A kubelet shows the lines as the event of a probe that failed.
    """
    if status.supervisor.ready:
        return ()
    reasons = tuple(_unready_pools(status))
    return reasons or ("not ready: the first discovery is running, or the supervisor is stopping",)


def _unready_pools(status: NodeStatus) -> Iterator[str]:
    for name, pool in status.pools.items():
        if pool.prevents_readiness:
            reason = f": {pool.reason}" if pool.reason else ""
            yield f"{name} is {pool.state}{reason}"


COMMAND: Final = Command(
    "exit with 0 if the supervisor replies (alive), or if the kubelet lists all pools (ready)",
    "  rbln-ctl probe ready && echo the kubelet lists every pool\n"
    "  kubectl exec POD -- rbln-ctl probe alive",
    _run_command,
    _add_arguments,
)
