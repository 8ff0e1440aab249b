"""Exit codes of rbln-ctl, which scripts use, and the errors that end a command."""

from enum import IntEnum

from rbln_worker.contract.errors import RblnError


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
