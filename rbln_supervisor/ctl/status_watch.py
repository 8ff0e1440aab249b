"""``rbln-ctl status --watch``: refreshed every second, also over restarts of the supervisor."""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import request_reply
from rbln_supervisor.ctl.command import CommandError, Exit
from rbln_supervisor.ctl.status_command import (
    StatusFilter,
    filter_status,
    status_page,
    unknown_pool_error,
)
from rbln_supervisor.ctl.text import duration_text, plain

INTERVAL_S: Final = 1.0
_REPLY_TIMEOUT_S: Final = 2.0
"""Seconds: a supervisor replies in milliseconds, and a person should see soon that it does not."""


def watch_status(run_dir: Path, choice: StatusFilter) -> Exit:
    """Show the status until Ctrl-C. Raises CommandError without a terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        raise CommandError("--watch needs a terminal: use status, or events --follow")
    signal.signal(signal.SIGTERM, _exit_on_signal)
    status: NodeStatus | None = None
    received_at = monotonic()
    try:
        # Live(screen=True) cuts a long page off without an ellipsis (rich.screen).
        with (
            console.screen(),
            Live(console=console, vertical_overflow="ellipsis", auto_refresh=False) as live,
        ):
            while True:
                problem = ""
                try:
                    reply = request_reply(
                        run_dir, Status(), StatusReply, timeout_s=_REPLY_TIMEOUT_S
                    )
                    status, received_at = reply.status, monotonic()
                except CommandError as error:
                    age = duration_text(monotonic() - received_at)
                    problem = f"no reply for {age}: {'; '.join(error.lines)}"
                live.update(_watch_page(status, problem, choice, console.width), refresh=True)
                sleep(INTERVAL_S)
    except KeyboardInterrupt:
        return Exit.DONE


def _watch_page(
    status: NodeStatus | None, problem: str, choice: StatusFilter, columns: int
) -> RenderableType:
    """Return the newest status, and the reason why it is not current."""
    now = datetime.now(UTC)
    parts: list[RenderableType] = [Text(f"{now:%H:%M:%S} UTC", "dim")]
    if problem:
        parts.append(Text(f"● {plain(problem)}", "bold red"))
    if status is not None:
        if problem:
            parts.append(Text("Last known status:", "red"))
        if error := unknown_pool_error(status, choice):
            parts.append(Text(plain(error), "yellow"))
        parts.append(status_page(filter_status(status, choice), columns, now.timestamp(), status))
    return Group(*parts)


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    # SystemExit restores the terminal.
    sys.exit(128 + number)
