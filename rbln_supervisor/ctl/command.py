"""The description of a command, its exit codes, which scripts use, and the errors that end it."""

import argparse
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from rbln_worker.contract.errors import RblnError

RUN_DIR: Final = Path("/run/rbln")


class Exit(IntEnum):
    """Exit codes; argparse exits with 2 on wrong usage."""

    DONE = 0
    REFUSED = 1
    """Refused or failed; for doctor: there is an error."""
    UNREACHABLE = 3
    INTERRUPTED = 130
    """As shells report an end by SIGINT."""


class CommandError(RblnError):
    """Error that ends a command: lines for standard error, each with a remedy."""

    code = Exit.REFUSED

    def __init__(self, *lines: str, json: object = None) -> None:
        """``json``: the value that ``--json`` prints on standard output; None for nothing."""
        super().__init__(*lines)
        self.lines = lines
        self.json = json


def _add_nothing(_: argparse.ArgumentParser) -> None:
    """Add nothing: the command has only the common options."""


class Command(NamedTuple):
    """A command: its module has its arguments, its request, its output and its exit code."""

    help: str
    """One line."""
    examples: str
    run: Callable[[argparse.Namespace], Exit]
    add_arguments: Callable[[argparse.ArgumentParser], None] = _add_nothing
