"""The description of a command, and the arguments that several commands take."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from rbln_supervisor.ctl.exits import Exit

RUN_DIR: Final = Path("/run/rbln")


def _add_nothing(_: argparse.ArgumentParser) -> None:
    """Add nothing: the command has only the common options."""


class Command(NamedTuple):
    """A command: its module has its arguments, its request, its output and its exit code."""

    help: str
    """One line."""
    examples: str
    run: Callable[[argparse.Namespace], Exit]
    add_arguments: Callable[[argparse.ArgumentParser], None] = _add_nothing


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that read the node without the supervisor."""
    default = "default: as the supervisor has it, or had it last"
    parser.add_argument(
        "--config-file", type=Path, metavar="FILE", help=f"the configuration file ({default})"
    )
    parser.add_argument(
        "--kubelet-dir",
        type=parse_absolute_path,
        metavar="DIR",
        help=f"the kubelet's --root-dir ({default})",
    )
    parser.add_argument(
        "--device-plugins-dir",
        type=parse_absolute_path,
        metavar="DIR",
        help=f"the directory of kubelet.sock ({default})",
    )
    parser.add_argument(
        "--host-root",
        type=Path,
        metavar="DIR",
        help=f"the directory where the host's root is mounted ({default})",
    )


def parse_absolute_path(text: str) -> Path:
    """Return a path from the root. Raises argparse.ArgumentTypeError."""
    path = Path(text)
    if not path.is_absolute():
        raise argparse.ArgumentTypeError(f"expected an absolute path, got {text!r}")
    return path
