"""The entry point of rbln-ctl: runs one command, and prints its errors."""

import argparse
import os
from collections.abc import Sequence

from rbln_supervisor.ctl import output
from rbln_supervisor.ctl.command import CommandError, Exit
from rbln_supervisor.ctl.parser import build_parser, parse_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    output.prepare_streams()
    if "_ARGCOMPLETE" in os.environ:  # a shell requests completions
        import argcomplete  # noqa: PLC0415

        argcomplete.autocomplete(build_parser())
    try:
        return _run_command(parse_arguments(argv))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last frame of this process
        output.print_errors(f"{type(error).__name__}: {error}")
        return Exit.REFUSED
    finally:
        output.flush_streams()


def _run_command(options: argparse.Namespace) -> Exit:
    try:
        code: Exit = options.run(options)
    except CommandError as error:
        if options.json and error.json is not None:
            output.write_json(error.json)
        output.print_errors(*error.lines)
        return error.code
    return code
