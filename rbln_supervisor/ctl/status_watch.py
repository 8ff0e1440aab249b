"""The status, refreshed at intervals: one connection, which outlasts a supervisor."""

import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import NoReturn

from rich.console import Console, Group, RenderableType
from rich.segment import Segment, Segments
from rich.text import Text

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl import output, rendering, status_table
from rbln_supervisor.ctl.client import Session, UnreachableError, UnreadableAnswerError
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.status_filter import StatusFilter, filter_status, unknown_pool_error
from rbln_supervisor.ctl.wording import duration_text, plain

REPLY_TIMEOUT_S = 2.0
"""Seconds: a supervisor replies in milliseconds, and a person should see soon that it does not."""


def watch_status(run_dir: Path, choice: StatusFilter, *, as_json: bool, interval_s: float) -> Exit:
    """Show the status until Ctrl-C, or until its reader is gone."""
    signal.signal(signal.SIGTERM, _exit_on_signal)
    console = Console(highlight=False, markup=False, emoji=False)
    try:
        with Session(run_dir) as session:
            news = _News(session)
            if as_json:
                _repeat_show(lambda: _print_json(news.refresh_status(), choice), interval_s)
            elif not console.is_terminal:
                _repeat_show(lambda: _print_plain(news.refresh_status(), choice), interval_s)
            else:
                with console.screen(hide_cursor=True) as screen:

                    def show_status() -> bool:
                        news.refresh_status()
                        screen.update(_crop_page(_watch_page(news, choice, console.width), console))
                        return True

                    _repeat_show(show_status, interval_s)
    except KeyboardInterrupt:
        pass  # the usual end
    return Exit.DONE


class _News:
    """The newest status, or the time without one."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked_at = monotonic()
        self.status: NodeStatus | None = None
        self.at = self._asked_at
        """Time of the newest status (monotonic seconds)."""
        self.problem = ""

    def refresh_status(self) -> "_News":
        try:
            reply = self._session.send_request(Status(), REPLY_TIMEOUT_S)
        except (UnreachableError, UnreadableAnswerError) as error:
            self.problem = str(error)
            return self
        if isinstance(reply, StatusReply):
            self.status, self.at, self.problem = reply.status, monotonic(), ""
        else:
            self.problem = "an answer to another question"
        return self


def _repeat_show(show: Callable[[], bool], interval_s: float) -> None:
    while True:
        began = monotonic()
        if not show():
            return
        sleep(max(0.0, began + interval_s - monotonic()))


def _print_json(news: _News, choice: StatusFilter) -> bool:
    """Write one line for each status; a failed request has a line, too."""
    if news.problem or news.status is None:
        return output.write_line({"unreachable": news.problem})
    return output.write_line(filter_status(news.status, choice))


def _print_plain(news: _News, choice: StatusFilter) -> bool:
    return output.write_text(
        rendering.render_text(
            lambda columns: Group(_watch_page(news, choice, columns), Text()), sys.stdout
        )
    )


def _watch_page(news: _News, choice: StatusFilter, columns: int) -> RenderableType:
    now = datetime.now(UTC)
    parts: list[RenderableType] = [Text(f"{now:%H:%M:%S} UTC", "dim")]
    if news.problem:
        since = duration_text(monotonic() - news.at)
        parts.append(Text(f"● no answer for {since}: {plain(news.problem)}", "bold red"))
        if news.status:
            parts.append(Text("What it said last:", "red"))
    if news.status is not None:
        if none := unknown_pool_error(news.status, choice):
            parts.append(Text(plain(none), "yellow"))
        parts.append(
            status_table.status_page(
                filter_status(news.status, choice), columns, now.timestamp(), news.status
            )
        )
    return Group(*parts)


def _crop_page(page: RenderableType, console: Console) -> RenderableType:
    """Return the lines that fit on the screen, and the number of further ones."""
    lines = console.render_lines(page, console.options.update(height=None), pad=False)
    room = max(1, console.height - 1)
    if len(lines) > room:
        more = f"… {len(lines) - room} more lines; --pool and --unhealthy show less"
        lines = [*lines[:room], [Segment(more[: console.width])]]
    return Segments([one for line in lines for one in (*line, Segment.line())][:-1])


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    # SystemExit restores the terminal.
    sys.exit(128 + number)
