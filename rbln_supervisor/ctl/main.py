"""The command line of rbln-ctl: its parser; runs one command, and prints its errors."""

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rbln_supervisor.ctl import output
from rbln_supervisor.ctl.command import RUN_DIR, Command, CommandError, Exit
from rbln_worker.contract.version import VERSION

COMMANDS: Final = (
    *("status", "doctor", "events", "explain", "reload", "rescan", "upgrade", "probe"),
    *("validate", "support-bundle", "completion"),
)
"""In the order of --help; the module of each is named after it."""

_CODES: Final = """\
exit codes:
  0    done; doctor: no error found
  1    refused or failed, with the reasons on standard error; doctor: an error was found
  2    wrong usage
  3    the supervisor does not reply; doctor and support-bundle report what they can read without
       it; events: there is no run directory
  130  interrupted
"""

_EXAMPLES: Final = """\
where to begin:
  rbln-ctl doctor                  problems of this node, each with a remedy
  rbln-ctl status --watch          pools, workers and devices, refreshed every second
  rbln-ctl explain 0000:3b:00.0    why a device is in its pool, or in none
  rbln-ctl events --since 1h       what happened
"""


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


def load_command(name: str) -> Command:
    """Return a command. Its module is imported only now: some need rich or ZeroMQ."""
    module = importlib.import_module(f"rbln_supervisor.ctl.{name.replace('-', '_')}_command")
    command: Command = module.COMMAND
    return command


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options and the command; exit with code 2 and the usage if they are invalid."""
    try:
        _, arguments = _common_parser().parse_known_args(argv)
    except argparse.ArgumentError:
        arguments = []
    chosen = arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS
    defaults = argparse.Namespace(run_dir=RUN_DIR, json=False)
    return build_parser(chosen).parse_args(argv, defaults)


def build_parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the command line with some commands."""
    common = _common_parser()
    parser = argparse.ArgumentParser(
        prog="rbln-ctl",
        description="Query the Rebellions device plugin's supervisor on this node.",
        epilog=f"{_EXAMPLES}\n{_CODES}",
        parents=[common],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command_name", required=True, metavar="COMMAND")
    for name in names:
        command = load_command(name)
        one = commands.add_parser(
            name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=f"examples:\n{command.examples}\n\n{_CODES}",
            parents=[common],
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser


def _common_parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    common.add_argument(
        "--run-dir",
        type=Path,
        default=argparse.SUPPRESS,  # otherwise a command's default replaces a value before it
        metavar="DIR",
        help=f"the supervisor's run directory (default: {RUN_DIR})",
    )
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    return common
