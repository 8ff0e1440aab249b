"""Each transition is recorded once, over any number of workers, and files stay bounded."""

import os
import resource
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from rbln_supervisor.core.events.query import Query, select_events
from rbln_supervisor.events.log import EventLog
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.events import MAX_TEXT, Event
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.device_events import find_transitions, health_event
from rbln_worker.process.event_file import (
    MAX_FILE_BYTES,
    MAX_PENDING,
    PREVIOUS_SUFFIX,
    EventFile,
    EventReader,
)

POOL = PoolName("a/p")
DEVICES = [DeviceId(f"0000:{n:02x}:00.0") for n in range(4)]
NOW = 1_764_000_000.0

VERDICTS = st.one_of(
    st.just(Verdict(healthy=False, reason="not checked yet", phase=HealthPhase.UNHEALTHY)),
    st.just(Verdict(healthy=True)),
    st.just(Verdict(healthy=True, reason="r", phase=HealthPhase.SUSPECT, source="node")),
    st.just(Verdict(healthy=True, reason="r", phase=HealthPhase.UNKNOWN, source="files")),
    st.just(Verdict(healthy=False, reason="watched", phase=HealthPhase.PROBATION, source="link")),
    st.sampled_from("ab").map(
        lambda why: Verdict(
            healthy=False, reason=why, phase=HealthPhase.UNHEALTHY, source="npu-status"
        )
    ),
)
PICTURES = st.lists(st.dictionaries(st.sampled_from(DEVICES), VERDICTS), min_size=1, max_size=8)
LIVES = st.lists(PICTURES, min_size=1, max_size=4)


def record_life(path: Path, pictures: list[dict[DeviceId, Verdict]]) -> None:
    """Record what a worker records that has these verdicts, one after the other."""
    file = EventFile(path)
    before: dict[DeviceId, Verdict] = {}
    for after in pictures:
        for event in find_transitions(POOL, before, after, file.last, set(pictures[0]), NOW):
            file.append_event(event)
        file.write_pending()
        assert not file.problem
        before = after


def read(path: Path) -> list[Event]:
    return EventReader().read_new(path)


def record_lives(lives: list[list[dict[DeviceId, Verdict]]]) -> list[Event]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "events")
        for pictures in lives:
            record_life(path, pictures)
        return read(path)


@given(LIVES)
def test_no_event_repeats_the_last_one_of_its_device(
    lives: list[list[dict[DeviceId, Verdict]]],
) -> None:
    recorded = record_lives(lives)
    for device in DEVICES:
        states = [(e.what, e.source, e.why) for e in recorded if e.device == device]
        assert all(one != other for one, other in pairwise(states))
        assert all(one[0] != other[0] or one[0] == "Unhealthy" for one, other in pairwise(states))


@given(LIVES)
def test_the_last_event_of_a_device_is_its_state(
    lives: list[list[dict[DeviceId, Verdict]]],
) -> None:
    recorded = record_lives(lives)
    for device, verdict in lives[-1][-1].items():
        states = [event.what for event in recorded if event.device == device]
        state = health_event(verdict)
        if state is not None:
            assert [*states, state][-2 if states else -1] == state
            assert states or state == "Healthy"


@given(PICTURES)
def test_a_second_worker_with_the_same_verdicts_records_nothing(
    pictures: list[dict[DeviceId, Verdict]],
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "events")
        record_life(path, pictures)
        before = read(path)
        record_life(path, pictures[-1:])
        assert read(path) == before


def test_a_recovery_from_unknown_has_its_own_time(tmp_path: Path) -> None:
    device, path = DEVICES[0], tmp_path / "events"
    healthy = Verdict(healthy=True, since=NOW - 60)
    unknown = Verdict(
        healthy=True, reason="r", phase=HealthPhase.UNKNOWN, source="files", since=NOW - 10
    )
    record_life(path, [{device: healthy}, {device: unknown}, {device: healthy}])
    assert [(one.what, one.at) for one in read(path)] == [("Unknown", NOW - 10), ("Healthy", NOW)]


TEXTS = st.text(max_size=2 * MAX_TEXT)
EVENTS = st.builds(
    Event,
    *(st.floats(0, 1e12), st.sampled_from(["device", "pool"]), TEXTS),
    **dict.fromkeys(("pool", "device", "source", "why"), TEXTS),
)


@settings(max_examples=50)
@given(st.lists(EVENTS, max_size=20))
def test_any_texts_are_written_and_read_within_their_limit(events: list[Event]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "events")
        file = EventFile(path)
        for event in events:
            file.append_event(event)
        file.write_pending()
        found = read(path)
        assert [(one.at, one.what[:100]) for one in found] == [
            (one.at, one.what[:100]) for one in events
        ]
        assert all(len(one.why) <= MAX_TEXT for one in found)


@settings(max_examples=50)
@given(st.binary(max_size=400) | st.sampled_from([b"[" * 100_000, b'{"at":3}']))
def test_any_content_of_a_file_is_skipped_and_continued(garbage: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "events")
        path.write_bytes(garbage)
        file = EventFile(path)
        before = read(path)
        file.record_event("kubelet", "restarted")
        file.write_pending()
        assert [event.what for event in read(path)][len(before) :][-1:] == ["restarted"]
        assert len(read(path)) <= len(before) + 2  # the last line may have been a whole one


def test_two_files_limit_the_size_and_keep_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "events"
    file = EventFile(path)
    reader = EventReader()
    seen: list[str] = []
    count = 0
    while not count or len(seen) < 12_000:
        for _ in range(1000):
            file.record_event("worker", "died", pool="q", why=f"{count} {'x' * 100}")
            count += 1
        file.write_pending()
        seen += [event.why for event in reader.read_new(path)]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["events", f"events{PREVIOUS_SUFFIX}"]
    assert all(one.stat().st_size <= MAX_FILE_BYTES for one in tmp_path.iterdir())
    # A reader that follows has read each, over all the renamed files.
    assert [int(one.split()[0]) for one in seen] == list(range(count))
    kept = [int(event.why.split()[0]) for event in read(path)]
    assert kept == list(range(kept[0], count))


def test_what_cannot_be_written_waits_and_more_than_that_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.mkdir()
    file = EventFile(path, retry_interval_s=0.0)
    for number in range(MAX_PENDING + 3):
        file.record_event("kubelet", "restarted", why=str(number))
    file.write_pending()
    assert file.problem == (
        f"events are lost at a restart: {path}: Is a directory; 3 are lost already"
    )
    path.rmdir()
    file.write_pending()
    assert not file.problem
    assert read(path)[-1].why == str(MAX_PENDING + 2)


def test_a_removed_folder_is_created_again(tmp_path: Path) -> None:
    path = tmp_path / "run" / "pools" / "events"
    file = EventFile(path)
    file.record_event("kubelet", "gone")
    file.write_pending()
    assert not file.problem
    assert [event.what for event in read(path)] == ["gone"]
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_line_that_a_full_disk_cuts_is_written_again_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events"
    file = EventFile(path, retry_interval_s=0.0)
    for what in ("one", "two", "three"):
        file.record_event("kubelet", what, why="x" * 100)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250, former[1]))
    try:
        file.write_pending()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert os.stat(path).st_size == 250  # noqa: PTH116 - of what was written
    assert file.problem
    file.write_pending()
    assert not file.problem
    assert [event.what for event in read(path)] == ["one", "two", "three"]


def test_a_supervisor_records_no_state_again_that_an_earlier_one_recorded(tmp_path: Path) -> None:
    for states in ({"p": ("serving", "")}, {"p": ("serving", "")}, {"p": ("backoff", "x")}):
        log = EventLog(tmp_path)
        log.record_states(states)
        log.record_states(states)
        log.write_pending()
    assert [one.what for one in read(tmp_path / "supervisor.events")] == ["serving", "backoff"]


@given(
    st.lists(
        st.builds(
            Event,
            st.floats(0, 9),
            st.just("device"),
            st.just("x"),
            st.sampled_from(["", "a/b", "a/c"]),
            st.sampled_from(["", *DEVICES]),
        )
    ),
    st.builds(
        Query,
        st.integers(-1, 9),
        st.sampled_from(["", "a/b", "c"]),
        st.sampled_from(["", "00:00.0"]),
        st.floats(0, 9),
    ),
)
def test_a_choice_is_in_order_and_what_was_asked_for(found: list[Event], query: Query) -> None:
    answer = select_events(found, query)
    assert len(answer) <= max(0, query.most)
    assert [one.at for one in answer] == sorted(one.at for one in answer)
    for event in answer:
        assert any(event is one for one in found)
        assert event.at >= query.since
        assert not query.device or event.device == DEVICES[0]
        assert not event.pool or not query.pool or event.pool[-1] == query.pool[-1]
