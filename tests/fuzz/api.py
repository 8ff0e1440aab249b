"""What the API server says, a kubeconfig, and what an earlier agent has left."""

import contextlib
import tempfile
from pathlib import Path

from rbln_supervisor.agent.sources import EventSource
from rbln_supervisor.agent.state_file import StateFile
from rbln_supervisor.core.events.notes import MAX_NOTE_BYTES, event_note
from rbln_supervisor.core.events.occurrences import (
    FlapHistory,
    find_occurrences,
    group_occurrences,
)
from rbln_supervisor.core.events.series import Outcome, add_groups, after_call
from rbln_supervisor.events.agent_files import PROBLEM_FILE, STATE_FILE, read_problem
from rbln_worker.contract.events import Event, Kind
from rbln_worker.core.kube.api_error import ApiError, status_error, watch_error
from rbln_worker.core.kube.api_object import ApiObject, ObjectMeta
from rbln_worker.core.kube.kubeconfig import AccessError
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.client import LineBuffer, _watch_event
from tests.fuzz import claims

_LIMIT = 1 << 20


def api_answer(raw: bytes) -> None:
    """Any answer that is no success is an error of one line, and so is any line of a watch."""
    claims.one_line(str(status_error("GET /x", 500, {b"retry-after": raw}, raw)))
    claims.one_line(str(watch_error("watch of /x", raw)))
    for line in LineBuffer(_LIMIT).take_lines(raw + b"\n"):
        try:
            event = _watch_event(line, "watch of /x", ApiObject)
        except ApiError as error:
            claims.one_line(str(error))
        else:
            assert event.object is None or isinstance(event.object.metadata, ObjectMeta)


def kubeconfig(raw: bytes) -> None:
    """A kubeconfig gives an access, or is refused in one line."""
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        path = Path(folder, "kubeconfig")
        path.write_bytes(raw)
        try:
            access = ClusterAccess(path)
            token = access.current_credentials().token
        except AccessError as error:
            claims.one_line(str(error))
            return
        assert token.isprintable()
        with contextlib.suppress(AccessError):
            access.tls_context()


def agent_state(raw: bytes) -> None:
    """An agent goes on after any state."""
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        run_dir = Path(folder)
        (run_dir / STATE_FILE).write_bytes(raw)
        (run_dir / PROBLEM_FILE).write_bytes(raw)
        (run_dir / "pools").mkdir()
        (run_dir / "supervisor.events").write_bytes(b'{"at":1,"kind":"reload","what":"done"}\n')
        read_problem(run_dir)
        state = StateFile(run_dir).state
        source = EventSource(run_dir, state.positions)
        found, history = find_occurrences(source.read_new(), state.history, 1.0)
        assert isinstance(history, FlapHistory)
        state = add_groups(state, group_occurrences(found), {}, "node")
        first = state.outbox[0] if state.outbox else None
        assert first is not None
        assert first not in after_call(state, first, Outcome.DONE).outbox
        assert source.positions()


def event_text(raw: bytes) -> None:
    """Any text of an event is a note that the API server takes."""
    text = raw.decode("utf-8", "replace")
    kinds: tuple[tuple[Kind, str], ...] = (
        *(("device", "Unhealthy"), ("worker", "died")),
        ("reload", "refused"),
    )
    events = [
        Event(0.0, kind, what, text[:200], text[:100], text[:50], text) for kind, what in kinds
    ]
    for group in group_occurrences(find_occurrences(events, FlapHistory(), 0.0)[0]):
        note = event_note(group, for_pod=True)
        assert 0 < len(note.encode()) <= MAX_NOTE_BYTES
        assert note.isprintable()
