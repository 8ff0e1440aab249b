"""Whatever is told, however often and by whom: each transition is recorded once."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from rbln_supervisor.core.events.dedup import DedupState, EventDeduplicator
from rbln_supervisor.core.events.event import MAX_TEXT, Event, Query, select_events
from rbln_supervisor.events.log import FILE, MAX_FILE_BYTES, PREVIOUS_FILE, EventLog, read_records
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.events import Transition
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.core import event_history

DEVICES = [DeviceId(f"0000:{n:02x}:00.0") for n in range(4)]
NOW = 1_764_000_000.0

VERDICTS = st.one_of(
    st.just(Verdict(healthy=False, reason="not looked at yet", phase=HealthPhase.UNHEALTHY)),
    st.just(Verdict(healthy=True)),
    st.just(Verdict(healthy=True, reason="r", phase=HealthPhase.SUSPECT, source="node")),
    st.just(Verdict(healthy=True, reason="r", phase=HealthPhase.UNKNOWN, source="files")),
    st.just(Verdict(healthy=False, reason="watched", phase=HealthPhase.PROBATION)),
    st.sampled_from("ab").map(
        lambda why: Verdict(
            healthy=False, reason=why, phase=HealthPhase.UNHEALTHY, source="npu-status"
        )
    ),
)
LIVES = st.lists(
    st.lists(st.dictionaries(st.sampled_from(DEVICES), VERDICTS), min_size=1, max_size=8),
    min_size=1,
    max_size=4,
)


def life(pictures: list[dict[DeviceId, Verdict]]) -> tuple[Transition, ...]:
    """What a worker remembers that saw these verdicts, one after the other."""
    memory = event_history.EventHistory()
    before: Mapping[DeviceId, Verdict] = {}
    begun_with = frozenset(pictures[0])
    for after in pictures:
        happened = event_history.find_transitions(before, after, NOW, begun_with)
        memory = event_history.append_transitions(memory, happened, devices=len(DEVICES))
        before = after
    return memory.kept


@given(LIVES, st.data())
def test_told_again_it_is_no_news(
    lives: list[list[dict[DeviceId, Verdict]]], data: st.DataObject
) -> None:
    once, often = EventDeduplicator(), EventDeduplicator()
    recorded: list[Event] = []
    again: list[Event] = []
    for number, pictures in enumerate(lives):
        happened = life(pictures)
        name = f"life{number}"
        recorded += once.new_transitions("p", name, happened, NOW)
        while True:
            upto = data.draw(st.integers(0, len(happened)))
            again += often.new_transitions("p", name, happened[:upto], NOW)
            if data.draw(st.booleans()):  # a supervisor dies; the next one reads what was written
                read = EventDeduplicator()
                for event in again:
                    read.apply_record(msgspec.json.decode(msgspec.json.encode(event), type=Event))
                often = read
            if upto == len(happened):
                break
    assert again == recorded
    for device in DEVICES:
        words = [(e.what, e.source, e.why) for e in recorded if e.device == device]
        assert all(one != other or one[0] == "Healthy" for one, other in pairwise(words))


@given(st.lists(st.dictionaries(st.sampled_from(DEVICES), VERDICTS), min_size=1, max_size=8))
def test_the_last_event_is_how_the_device_is(pictures: list[dict[DeviceId, Verdict]]) -> None:
    chronicle = EventDeduplicator()
    recorded = list(chronicle.new_transitions("p", "l", life(pictures), NOW))
    for device, verdict in pictures[-1].items():
        said = [event.what for event in recorded if event.device == device]
        word = event_history.health_event(verdict)
        if word is not None and (said or word != "Healthy"):
            assert said[-1] == word


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_what_is_kept_is_bounded_and_numbered(count: int, asked: int) -> None:
    memory = event_history.append_transitions(
        event_history.EventHistory(), [Transition(0, NOW, "Healthy", DEVICES[0])] * count, devices=1
    )
    assert len(memory.kept) == min(count, event_history.MAX_KEPT + 1)
    told = event_history.transitions_after(memory, asked)
    assert [one.number for one in told] == [
        number for number in range(1, count + 1) if number > max(asked, count - len(memory.kept))
    ]


TEXTS = st.text(max_size=2 * MAX_TEXT)
HOSTILE = st.builds(
    Transition,
    number=st.integers(-(2**63), 2**64 - 1),
    at=st.floats(),
    word=st.sampled_from(["Healthy", "Unhealthy", "Unknown", "left", "registered"]),
    device=TEXTS.map(DeviceId),
    source=TEXTS,
    reason=TEXTS,
    first=st.booleans(),
)


@settings(max_examples=50)
@given(st.lists(HOSTILE, max_size=20))
def test_whatever_a_worker_says_can_be_written_and_read(happened: list[Transition]) -> None:
    with TemporaryDirectory() as folder:
        journal = EventLog(Path(folder))
        journal.record_transitions("p", "life", tuple(happened))
        journal.write_pending()
        assert not journal.problem
        kept = list(journal.events)
        assert [e for e in read_records(Path(folder)) if isinstance(e, Event)] == kept
        assert all(event.at >= 0 and len(event.why) <= MAX_TEXT for event in kept)
        assert list(EventLog(Path(folder)).events) == kept


@settings(max_examples=50)
@given(st.binary(max_size=400) | st.sampled_from([b"[" * 100_000, b'{"type":"marks","lives":3}']))
def test_whatever_lies_there_is_read_over(garbage: bytes) -> None:
    with TemporaryDirectory() as folder:
        run_dir = Path(folder)
        (run_dir / FILE).write_bytes(garbage)
        journal = EventLog(run_dir)
        before = list(journal.events)
        journal.record_event("kubelet", "restarted")
        journal.write_pending()
        assert [event.what for event in EventLog(run_dir).events] == [
            *(event.what for event in before),
            "restarted",
        ]


def test_two_files_bound_it_and_the_marks_go_on(tmp_path: Path) -> None:
    journal = EventLog(tmp_path)
    fallen = Transition(1, NOW, "Unhealthy", DEVICES[0], "aer", "x")
    journal.record_transitions("p", "life", (fallen,))
    for number in range(20_000):
        journal.record_event("worker", "died", pool="q", why=f"{number} {'x' * 100}")
        journal.write_pending()
    for name in (FILE, PREVIOUS_FILE):
        marks, _, rest = (tmp_path / name).read_bytes().partition(b"\n")
        assert len(rest) <= MAX_FILE_BYTES
        assert len(marks) < 300
    newest = journal.last_number
    again = EventLog(tmp_path)
    again.record_transitions("p", "life", (fallen,))
    again.record_transitions(
        "p", "another", (Transition(1, NOW, "Unhealthy", DEVICES[0], "aer", "x", first=True),)
    )
    assert again.last_number == newest
    again.record_transitions("p", "another", (Transition(2, NOW, "Healthy", DEVICES[0]),))
    assert again.last_number == newest + 1
    assert isinstance(next(record for record in read_records(tmp_path)), DedupState)


def test_a_folder_that_takes_nothing_costs_the_file_only(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    journal = EventLog(tmp_path, retry_interval_s=0.0)
    journal.record_event("kubelet", "restarted")
    journal.write_pending()
    assert "Is a directory" in journal.problem
    assert [event.what for event in journal.events] == ["restarted"]
    (tmp_path / FILE).rmdir()
    journal.record_event("kubelet", "gone")
    journal.write_pending()
    assert not journal.problem
    assert [event.what for event in EventLog(tmp_path).events] == ["restarted", "gone"]


@given(
    st.lists(
        st.builds(
            Event,
            st.integers(1, 50),
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
        st.integers(0, 50),
    ),
)
def test_a_choice_is_in_order_and_what_was_asked_for(found: list[Event], query: Query) -> None:
    answer = select_events(found, query)
    assert len(answer) <= max(0, query.most)
    left = iter(found)
    assert all(any(event is one for one in left) for event in answer)
    for event in answer:
        assert event.number > query.after
        assert event.at >= query.since
        assert not query.device or event.device == DEVICES[0]
        assert not event.pool or not query.pool or event.pool[-1] == query.pool[-1]
