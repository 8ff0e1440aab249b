"""``rbln-ctl events``: from the files of the run directory, so that it needs no supervisor."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from time import sleep
from typing import Final

import msgspec
from rich.console import RenderableType
from rich.text import Text

from rbln_supervisor.core.events.query import MAX_EVENTS, Query, select_events
from rbln_supervisor.ctl import completers
from rbln_supervisor.ctl.command import Command, Exit
from rbln_supervisor.ctl.output import print_errors, write_json, write_text
from rbln_supervisor.ctl.rendering import build_table, fixed_column, print_page
from rbln_supervisor.ctl.text import parse_since, plain, reason_text, time_stamp
from rbln_supervisor.events import log
from rbln_worker.contract.events import Event
from rbln_worker.process.event_file import EventReader

_POLL_INTERVAL_S: Final = 0.5
_GOOD: Final = frozenset({"Healthy", "serving", "registered", "done", "started", "adopted"})
_BAD: Final = frozenset(
    {
        *("Unhealthy", "died", "hangs", "not started", "refused"),
        *("backoff", "invalid", "gone", "unregistered"),
    }
)
NARROW_COLUMNS: Final = 100
"""Width below which a table of events shows only the time of day (columns)."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    newest = "only the newest N events (default: 30)"
    parser.add_argument("-n", type=int, default=30, metavar="N", help=newest, dest="most")
    pool = parser.add_argument(
        "--pool", default="", metavar="POOL", help="only events of this pool and of the node"
    )
    completers.complete_with(pool, completers.pool_names)
    device = parser.add_argument(
        "--device", default="", metavar="DEVICE", help="only events of this device"
    )
    completers.complete_with(device, completers.device_names)
    parser.add_argument(
        "--since",
        type=parse_since,
        default=0.0,
        metavar="TIME",
        help="only events after this: 90s, 10m, 2h, 3d, or a time such as 2026-11-25T08:30 (UTC)",
    )
    parser.add_argument("--follow", action="store_true", help="print new events until Ctrl-C")


class EventsReport(msgspec.Struct, frozen=True):
    """The JSON of ``rbln-ctl events``."""

    events: tuple[Event, ...]


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
        paths = log.event_files(self._run_dir)
        return select_events((one for path in paths for one in self._reader.read_new(path)), query)


def _run_command(options: argparse.Namespace) -> Exit:
    run_dir: Path = options.run_dir
    query = Query(options.most, options.pool, options.device, options.since)
    if options.follow:
        return _follow_events(run_dir, query, as_json=options.json)
    try:
        events = NodeEvents(run_dir).read_new(query)
    except OSError as error:
        print_errors(_describe_error(run_dir, error))
        return Exit.UNREACHABLE
    if options.json:
        write_json(EventsReport(events))
    elif events:
        print_page(lambda columns: events_page(events, columns))
    else:
        write_text("no such event is recorded\n")
    return Exit.DONE


def _follow_events(run_dir: Path, query: Query, *, as_json: bool) -> Exit:
    """Print past and new events, until Ctrl-C or until the reader is gone."""
    node = NodeEvents(run_dir)
    problem = ""
    try:
        while True:
            before, problem = problem, ""
            try:
                events = node.read_new(query)
                query = msgspec.structs.replace(query, most=MAX_EVENTS)
            except OSError as error:
                events, problem = (), _describe_error(run_dir, error)
            if problem and not before:
                print_errors(f"{problem}; waiting for it")
            if not _print_events(events, as_json=as_json):
                return Exit.DONE
            sleep(_POLL_INTERVAL_S)
    except KeyboardInterrupt:
        return Exit.DONE


def _describe_error(run_dir: Path, error: OSError) -> str:
    return f"no events in {run_dir}: {error.strerror}: set the run directory with --run-dir"


def _print_events(events: Iterable[Event], *, as_json: bool) -> bool:
    """Print a line for each event; return False if the reader is gone."""
    line = json_line if as_json else event_line
    return all(write_text(f"{line(event)}\n") for event in events)


def events_page(events: Iterable[Event], columns: int) -> RenderableType:
    """Return a table of events, the newest last."""
    first = len("2026-11-25 ") if columns < NARROW_COLUMNS else 0
    rows = (
        (
            Text(time_stamp(event.at)[first:], "dim"),
            event.pool or "-",
            event.device or "-",
            Text(state_text(event), _state_style(event)),
            evidence_text(event),
        )
        for event in events
    )
    heads = (fixed_column("TIME (UTC)"), "POOL", "DEVICE", "EVENT", "REASON")
    return build_table(columns, heads, rows)


def json_line(event: Event) -> str:
    """Return an event as a line of JSON."""
    return msgspec.json.encode(event).decode()


def event_line(event: Event) -> str:
    """Return an event as a line of text."""
    where = "  ".join(plain(part) for part in (event.pool, event.device) if part)
    return "  ".join(
        part
        for part in (time_stamp(event.at), where, state_text(event), evidence_text(event))
        if part
    )


def state_text(event: Event) -> str:
    """Return the new state, with the kind of its subject if that is not obvious."""
    state = plain(event.what)
    return state if event.kind in {"device", "registration"} else f"{event.kind} {state}"


def evidence_text(event: Event) -> str:
    """Return the evidence, with its source."""
    if event.kind == "registration" and event.what == "registered":
        return f"by {plain(event.source)}"
    return reason_text(event.source, event.why)


def _state_style(event: Event) -> str:
    if event.what in _BAD:
        return "red"
    return "green" if event.what in _GOOD else ""


COMMAND: Final = Command(
    "show past events of devices, pools, workers, registrations, reloads and kubelets",
    "  rbln-ctl events --since 1h --pool ATOM\n"
    "  rbln-ctl events --device 0000:3b:00.0 -n 100\n"
    "  rbln-ctl events --follow --json",
    _run_command,
    _add_arguments,
)
