"""Exit codes of rbln-ctl, which scripts use."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; argparse exits with 2 on wrong usage."""

    DONE = 0
    REFUSED = 1
    """Refused or failed; for doctor: there is an error."""
    UNREACHABLE = 3
    INTERRUPTED = 130
    """As shells report an end by SIGINT."""
