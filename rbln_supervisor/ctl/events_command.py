"""``rbln-ctl events``: from the files of the run directory, so that it needs no supervisor."""

import sys
from collections.abc import Iterable
from pathlib import Path
from time import sleep
from typing import Final

import msgspec

from rbln_supervisor.core.events.query import MAX_EVENTS, Query, select_events
from rbln_supervisor.ctl import events_table, output, rendering
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.events import log
from rbln_worker.contract.events import Event
from rbln_worker.process.event_file import EventReader

_POLL_INTERVAL_S: Final = 0.5


class NodeEvents:
    """The events of a node, which its supervisor and its workers write to files of their own."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._reader = EventReader()

    def read_new(self, query: Query) -> tuple[Event, ...]:
        """Return the requested ones among the events that were not read yet, by time.

        Raises:
            OSError: The run directory cannot be read.
        """
        pools = [one for one in (self._run_dir / "pools").iterdir() if one.suffix == ".events"]
        paths = (self._run_dir / log.FILE, *sorted(pools))
        return select_events((one for path in paths for one in self._reader.read_new(path)), query)


def print_once(run_dir: Path, query: Query, *, as_json: bool) -> Exit:
    """Print the events once."""
    try:
        events = NodeEvents(run_dir).read_new(query)
    except OSError as error:
        output.print_errors(_describe_error(run_dir, error))
        return Exit.UNREACHABLE
    if as_json:
        output.write_json({"events": events})
    elif events:
        output.write_text(
            rendering.render_text(
                lambda columns: events_table.events_page(events, columns), sys.stdout
            )
        )
    else:
        output.write_text("nothing of the kind happened, as far as is remembered\n")
    return Exit.DONE


def follow_events(run_dir: Path, query: Query, *, as_json: bool) -> Exit:
    """Print past and new events, until Ctrl-C or until the reader is gone."""
    node = NodeEvents(run_dir)
    has_failed = False
    try:
        while True:
            try:
                events = node.read_new(query)
            except OSError as error:
                if not has_failed:
                    output.print_errors(f"{_describe_error(run_dir, error)}; waiting for it")
                has_failed = True
            else:
                has_failed = False
                query = msgspec.structs.replace(query, most=MAX_EVENTS)
                if not _print_events(events, as_json=as_json):
                    return Exit.DONE
            sleep(_POLL_INTERVAL_S)
    except KeyboardInterrupt:
        return Exit.DONE


def _describe_error(run_dir: Path, error: OSError) -> str:
    return f"no events in {run_dir}: {error.strerror}: name the run directory with --run-dir"


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
