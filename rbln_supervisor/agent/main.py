"""The command line of rbln-agent: sends Events until a signal."""

import argparse
import asyncio
import logging
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rbln_supervisor.agent.agent import Agent
from rbln_supervisor.client_options import client_parser
from rbln_worker.contract.exits import Exit
from rbln_worker.process import log

CONDITION_VARIABLE: Final = "RBLN_NODE_CONDITION"
_MORE: Final = """\
It needs the rights to create and patch events.events.k8s.io; for a condition also
to patch nodes/status.

exit codes:
  0  a signal ended it (SIGTERM, SIGINT)
  2  wrong usage

examples:
  rbln-agent --kubeconfig /etc/rbln/kubeconfig --node-name node-7
"""

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal. Wrong usage: argparse exits."""
    options = _build_parser().parse_args(argv)
    log.setup_log("agent", logging.INFO, options.log_format)
    os.umask(0o077)
    asyncio.run(_run_agent(options))
    return Exit.DRAINED


async def _run_agent(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    agent = asyncio.ensure_future(
        Agent(
            *(options.run_dir, options.node_name, options.kubeconfig, options.node_condition)
        ).run()
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.cancel)
    _log.info("watching events", extra={"node": options.node_name})
    try:
        await agent
    except asyncio.CancelledError:
        _log.info("leaving")


def _build_parser() -> argparse.ArgumentParser:
    kubeconfig = os.environ.get("KUBECONFIG")
    parser = client_parser(
        "rbln-agent",
        "Sends what happens to the Rebellions devices of this node to the cluster, as "
        "Kubernetes Events on the Node and on the pods that have the devices.",
        _MORE,
    )
    parser.add_argument(
        "--node-name",
        default=os.environ.get("NODE_NAME") or socket.gethostname().lower(),
        metavar="NAME",
        help="name of the Node object (NODE_NAME, otherwise the host's name)",
    )
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        default=Path(kubeconfig) if kubeconfig else None,
        metavar="FILE",
        help="access to the API server (KUBECONFIG, otherwise the pod's service account)",
    )
    parser.add_argument(
        "--node-condition",
        default=os.environ.get(CONDITION_VARIABLE, ""),
        metavar="TYPE",
        help="keep a condition of this type on the Node, True while devices are Unhealthy "
        f"({CONDITION_VARIABLE}, or none)",
    )
    return parser
