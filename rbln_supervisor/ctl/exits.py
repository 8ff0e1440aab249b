"""How rbln-ctl ends; scripts rely on it."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes; argparse ends with 2 on wrong usage."""

    DONE = 0
    REFUSED = 1
    """Refused or failed; of doctor: something is wrong."""
    UNREACHABLE = 3
    INTERRUPTED = 130
    """As a shell says of what was ended by SIGINT."""
