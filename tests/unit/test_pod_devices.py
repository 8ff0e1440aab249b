"""Which devices pods hold, merged from what the kubelet's sources say."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.pod_devices import (
    PodTable,
    by_holdings,
    by_pods,
    holder_key,
    with_first_seen,
)
from rbln_worker.contract.pod_devices import Pod, PodDevice

ATOM = "rebellions.ai/ATOM"
A, B = "0000:20:00.0", "0000:21:00.0"
BARE = Pod("u1", "default", "bare", since=5.0)
ENTRY = PodDevice(ATOM, A, container="main", uid="u1", paths=("/dev/rbln2",))
NAMED = PodDevice(ATOM, A, "default", "bare", "main", "u1", 5.0, ("/dev/rbln2",))


def test_the_watch_names_the_pods_of_the_checkpoint() -> None:
    table = PodTable().after_sync({"u1": BARE}, [ENTRY])
    assert by_pods([ENTRY], table) == (NAMED,)


def test_an_entry_that_the_initial_list_does_not_have_is_of_a_pod_that_ended() -> None:
    table = PodTable().after_sync({}, [ENTRY])
    assert by_pods([ENTRY], table) == ()


def test_an_entry_that_comes_later_is_of_a_pod_that_was_just_admitted() -> None:
    table = PodTable().after_sync({}, [])
    assert by_pods([ENTRY], table) == (ENTRY,)
    assert by_pods([ENTRY], table.after_change(BARE)) == (NAMED,)


def test_a_pod_ends_by_its_phase_or_by_its_deletion() -> None:
    table = PodTable().after_sync({"u1": BARE}, [ENTRY])
    ended = Pod("u1", "default", "bare", since=5.0, has_ended=True)
    assert by_pods([ENTRY], table.after_change(ended)) == ()
    assert by_pods([ENTRY], table.after_deletion("u1")) == ()
    assert by_pods([ENTRY], table.after_deletion("u1").without_stale([ENTRY])) == ()


def test_what_ended_is_forgotten_with_its_entry() -> None:
    assert PodTable().after_sync({}, [ENTRY]).without_stale([]) == PodTable()


def test_without_a_checkpoint_a_pods_status_names_its_devices() -> None:
    pod = Pod("u1", "default", "bare", devices=(("main", ATOM, A),))
    expected = (PodDevice(ATOM, A, "default", "bare", "main", "u1"),)
    assert by_pods([], PodTable().after_change(pod)) == expected


def test_pod_resources_names_the_pod_of_an_entry() -> None:
    holding = PodDevice(ATOM, A, "default", "bare", "main")
    assert by_holdings([ENTRY], [holding], ()) == (
        PodDevice(ATOM, A, "default", "bare", "main", "u1", 0.0, ("/dev/rbln2",)),
    )
    assert by_holdings([], [holding], ()) == (PodDevice(ATOM, A, "default", "bare", "main"),)


def test_an_entry_that_pod_resources_does_not_list_counts_until_it_has_ended() -> None:
    assert by_holdings([ENTRY], [], ()) == (ENTRY,)
    assert by_holdings([ENTRY], [], {ENTRY}) == ()


def test_a_device_of_unknown_age_is_dated_by_when_it_was_first_seen() -> None:
    seen = {holder_key(ENTRY): 7.0}
    assert [one.since for one in with_first_seen([ENTRY], seen)] == [7.0]
    assert [one.since for one in with_first_seen([NAMED], {holder_key(NAMED): 7.0})] == [5.0]
    assert [one.since for one in with_first_seen([ENTRY], {})] == [0.0]


uids = st.sampled_from(["u1", "u2", "u3"])
entries = st.lists(
    st.builds(PodDevice, st.just(ATOM), st.sampled_from([A, B]), uid=uids), max_size=4
)
steps = st.lists(st.tuples(st.sampled_from(["changed", "ended", "deleted"]), uids), max_size=8)


@given(entries, st.sets(uids), steps)
def test_a_pod_that_lives_by_the_newest_news_holds_what_the_checkpoint_says(
    allocations: list[PodDevice], listed: set[str], news: list[tuple[str, str]]
) -> None:
    table = PodTable().after_sync({uid: Pod(uid, "n", uid) for uid in listed}, allocations)
    living = {one.uid: one.uid in listed for one in allocations}
    for what, uid in news:
        if what == "deleted":
            table = table.after_deletion(uid)
        else:
            table = table.after_change(Pod(uid, "n", uid, has_ended=what == "ended"))
        table = table.without_stale(allocations)
        living[uid] = what == "changed"
    held = {(one.device, one.uid) for one in by_pods(allocations, table)}
    assert held == {(one.device, one.uid) for one in allocations if living[one.uid]}
