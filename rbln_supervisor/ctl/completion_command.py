"""``rbln-ctl completion``: argcomplete's script for a shell."""

import argparse
from typing import Final

from argcomplete.shell_integration import shellcode

from rbln_supervisor.ctl.command import Command, Exit
from rbln_supervisor.ctl.output import write_text


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def _run_command(options: argparse.Namespace) -> Exit:
    write_text(shellcode(["rbln-ctl"], shell=options.shell))
    return Exit.DONE


COMMAND: Final = Command(
    "print a script that completes commands, pools and devices in a shell",
    "  source <(rbln-ctl completion bash)\n"
    '  rbln-ctl completion zsh > "${fpath[1]}/_rbln-ctl"\n'
    "  rbln-ctl completion fish > ~/.config/fish/completions/rbln-ctl.fish",
    _run_command,
    _add_arguments,
)
