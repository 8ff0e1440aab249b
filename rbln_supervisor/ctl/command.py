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
