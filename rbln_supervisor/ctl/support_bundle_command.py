"""``rbln-ctl support-bundle``: its arguments; ``support_bundle`` makes the file."""

import argparse
from pathlib import Path
from typing import Final

from rbln_supervisor.ctl.command import Command, add_node_arguments
from rbln_supervisor.ctl.doctor_command import node_overrides
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.support_bundle import write_bundle


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a new file (default: rbln-support-<host>-<time>.tar.gz in this directory)",
    )
    add_node_arguments(parser)


def _run_command(options: argparse.Namespace) -> Exit:
    return write_bundle(node_overrides(options), options.file)


COMMAND: Final = Command(
    "pack status, events, problems and configuration into one file, without secrets",
    "  rbln-ctl support-bundle\n  rbln-ctl support-bundle /tmp/node7.tar.gz",
    _run_command,
    _add_arguments,
)
