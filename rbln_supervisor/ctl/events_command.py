"""``rbln-ctl events``: from the supervisor, or without one from the files of the event log."""

import sys
from collections.abc import Iterable
from pathlib import Path
from time import sleep
from typing import Final

import msgspec

from rbln_supervisor.core.control.protocol import ErrorReply, Events, EventsReply
from rbln_supervisor.core.events.event import Event, Query, select_events
from rbln_supervisor.ctl import events_table, output, rendering
from rbln_supervisor.ctl.client import Session, UnreachableError, UnreadableAnswerError
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.events import log

_POLL_INTERVAL_S: Final = 0.5
_REPLY_TIMEOUT_S: Final = 5.0


def print_once(run_dir: Path, query: Query, *, as_json: bool) -> Exit:
    """Print the events once."""
    said, end = request_events(run_dir, query)
    if as_json:
        output.write_json(said)
    elif said.events:
        output.write_text(
            rendering.render_text(
                lambda columns: events_table.events_page(said.events, columns), sys.stdout
            )
        )
    else:
        output.write_text("nothing of the kind happened, as far as is remembered\n")
    return end


def request_events(run_dir: Path, query: Query) -> tuple[EventsReply, Exit]:
    """Return the events and the exit code; warn if they are from the files."""
    try:
        with Session(run_dir) as session:
            reply = session.send_request(Events(query), _REPLY_TIMEOUT_S)
    except (UnreachableError, UnreadableAnswerError) as error:
        output.print_errors(str(error), f"this is what {run_dir / log.FILE} says")
        return stored_events(run_dir, query), Exit.UNREACHABLE
    if isinstance(reply, EventsReply):
        return reply, Exit.DONE
    errors = reply.errors if isinstance(reply, ErrorReply) else ("an answer to another question",)
    output.print_errors(*errors)
    return EventsReply((), 0), Exit.REFUSED


def stored_events(run_dir: Path, query: Query) -> EventsReply:
    """Return the events in the files of a run directory."""
    events = [record for record in log.read_records(run_dir) if isinstance(record, Event)]
    return EventsReply(
        select_events(events, query), max((event.number for event in events), default=0)
    )


def follow_events(run_dir: Path, query: Query, *, as_json: bool) -> Exit:
    """Print past and new events, until Ctrl-C or until the reader is gone."""
    silent = False
    first = True
    try:
        with Session(run_dir) as session:
            while True:
                try:
                    reply = session.send_request(Events(query), _REPLY_TIMEOUT_S)
                except (UnreachableError, UnreadableAnswerError) as error:
                    if not silent:
                        output.print_errors(f"{error}; waiting for it")
                    silent = True
                else:
                    if isinstance(reply, EventsReply):
                        if silent:
                            output.print_errors("the supervisor answers")
                        silent = False
                        if not _print_events(reply.events, as_json=as_json):
                            return Exit.DONE
                        query = _next_query(query, reply, first=first)
                        first = False
                sleep(_POLL_INTERVAL_S)
    except KeyboardInterrupt:
        return Exit.DONE


def _next_query(query: Query, reply: EventsReply, *, first: bool) -> Query:
    """Return the query after a reply; a lower number than ours means that the log was restarted."""
    most = Query().most if first else query.most
    after = reply.newest if reply.newest >= query.after else 0
    return msgspec.structs.replace(query, after=after, most=most)


def _print_events(events: Iterable[Event], *, as_json: bool) -> bool:
    for event in events:
        said = (
            output.write_line(event)
            if as_json
            else output.write_text(f"{events_table.event_line(event)}\n")
        )
        if not said:
            return False
    return True
