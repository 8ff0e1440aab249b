"""The options that rbln-exporter and rbln-agent have in common."""

import argparse
import os
from pathlib import Path
from typing import Final, get_args

from rbln_worker.contract.version import VERSION
from rbln_worker.process.log import Format

FORMAT_VARIABLE: Final = "RBLN_LOG_FORMAT"
"""Variable of the environment with their log format."""


def client_parser(program: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return a parser with these options."""
    form = os.environ.get(FORMAT_VARIABLE, "text")
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=Path("/run/rbln"),
        metavar="DIR",
        help="the supervisor's folder (%(default)s)",
    )
    parser.add_argument(
        "--log-format",
        choices=get_args(Format),
        default=form if form in get_args(Format) else "text",
        help=f"text, or an object a line ({FORMAT_VARIABLE}, or text)",
    )
    return parser
