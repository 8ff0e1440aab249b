"""``rbln-ctl status --watch``: refreshed at intervals, over one connection to each supervisor."""

import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple, NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import Session, expect_reply
from rbln_supervisor.ctl.exits import CommandError, Exit
from rbln_supervisor.ctl.output import write_line
from rbln_supervisor.ctl.rendering import print_page
from rbln_supervisor.ctl.status_command import (
    StatusFilter,
    filter_status,
    status_page,
    unknown_pool_error,
)
from rbln_supervisor.ctl.text import duration_text, plain

_REPLY_TIMEOUT_S: Final = 2.0
"""Seconds: a supervisor replies in milliseconds, and a person should see soon that it does not."""


class _Poll(NamedTuple):
    """The newest status, and the reason why it is not current."""

    status: NodeStatus | None
    problem: str
    """Empty if it is."""
    age_s: float


def watch_status(run_dir: Path, choice: StatusFilter, *, as_json: bool, interval_s: float) -> Exit:
    """Show the status until Ctrl-C, or until its reader is gone."""
    signal.signal(signal.SIGTERM, _exit_on_signal)
    console = Console(highlight=False, markup=False, emoji=False)
    try:
        with Session(run_dir) as session:
            polls = _poll_status(session, interval_s)
            if as_json:
                all(write_line(_json_value(poll, choice)) for poll in polls)
            elif console.is_terminal:
                # Live(screen=True) cuts a long page off without an ellipsis (rich.screen).
                with (
                    console.screen(),
                    Live(console=console, vertical_overflow="ellipsis", auto_refresh=False) as live,
                ):
                    for poll in polls:
                        live.update(_watch_page(poll, choice, console.width), refresh=True)
            else:
                all(_print_page(poll, choice) for poll in polls)
    except KeyboardInterrupt:
        pass  # the usual end
    return Exit.DONE


def _poll_status(session: Session, interval_s: float) -> Iterator[_Poll]:
    """Yield the newest status at each interval, for ever."""
    status, received_at = None, monotonic()
    while True:
        began = monotonic()
        problem = ""
        try:
            reply = session.send_request(Status(), _REPLY_TIMEOUT_S)
            status, received_at = expect_reply(reply, StatusReply).status, monotonic()
        except CommandError as error:
            problem = "; ".join(error.lines)
        yield _Poll(status, problem, monotonic() - received_at)
        sleep(max(0.0, began + interval_s - monotonic()))


def _json_value(poll: _Poll, choice: StatusFilter) -> object:
    """Return the status, or the error of a failed request."""
    if poll.problem or poll.status is None:
        return {"unreachable": poll.problem}
    return filter_status(poll.status, choice)


def _print_page(poll: _Poll, choice: StatusFilter) -> bool:
    return print_page(lambda columns: Group(_watch_page(poll, choice, columns), Text()))


def _watch_page(poll: _Poll, choice: StatusFilter, columns: int) -> RenderableType:
    now = datetime.now(UTC)
    parts: list[RenderableType] = [Text(f"{now:%H:%M:%S} UTC", "dim")]
    if poll.problem:
        problem = f"● no reply for {duration_text(poll.age_s)}: {plain(poll.problem)}"
        parts.append(Text(problem, "bold red"))
        if poll.status:
            parts.append(Text("Last known status:", "red"))
    if poll.status is not None:
        if error := unknown_pool_error(poll.status, choice):
            parts.append(Text(plain(error), "yellow"))
        part = filter_status(poll.status, choice)
        parts.append(status_page(part, columns, now.timestamp(), poll.status))
    return Group(*parts)


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    # SystemExit restores the terminal.
    sys.exit(128 + number)
