"""The decision about a run directory, for every volume that a kubelet or a person may give."""

import stat
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.run_dir_check import Entry, Folder, is_open, refusal_reason

ROOT, NOBODY = 0, 65534
NAMES = frozenset({"supervisor.lock", "control.sock", "pools"})
DIR, FILE, LINK, SOCK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK, stat.S_IFSOCK
TERMINATION_LOG = Entry("termination-log", FILE | 0o666, ROOT)
LOST_AND_FOUND = Entry("lost+found", DIR | 0o700, ROOT, 2)
OURS = (
    Entry("supervisor.lock", FILE | 0o600, ROOT),
    Entry("control.sock", SOCK | 0o600, ROOT),
    Entry("pools", DIR | 0o700, ROOT, 7),
)
THEIRS = Entry("theirs", FILE | 0o644, ROOT)


def refused(mode: int, entries: Sequence[Entry] = (), *, owner: int = ROOT) -> str | None:
    return refusal_reason(
        Folder(mode, owner, entries), uid=ROOT, names=NAMES, lock="supervisor.lock"
    )


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param((), id="empty"),
        pytest.param((TERMINATION_LOG,), id="termination-log"),
        pytest.param((LOST_AND_FOUND, TERMINATION_LOG), id="ext4"),
        pytest.param((*OURS, TERMINATION_LOG), id="used before"),
    ],
)
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(0o777, id="emptyDir on disk"),
        pytest.param(0o1777, id="emptyDir in memory"),
        pytest.param(0o2777, id="on disk with fsGroup"),
        pytest.param(0o3777, id="in memory with fsGroup"),
        pytest.param(0o2775, id="persistent volume with fsGroup"),
        pytest.param(0o755, id="hostPath"),
        pytest.param(0o750, id="subPath"),
    ],
)
def test_a_volume_of_ours_alone_is_closed(mode: int, entries: Sequence[Entry]) -> None:
    assert refused(mode, entries) is None
    assert is_open(mode)


@pytest.mark.parametrize("mode", [0o700, 0o1700, 0o2700, 0o3700])
def test_a_closed_folder_is_used_whatever_is_in_it(mode: int) -> None:
    assert refused(mode, (THEIRS, *OURS)) is None
    assert not is_open(mode)


def test_a_folder_that_others_may_read_is_used_if_a_supervisor_was_there() -> None:
    assert refused(0o755, (THEIRS, *OURS)) is None
    assert refused(0o755, (THEIRS, *OURS[1:])) == (
        "others may enter it (mode 0755) and it is not ours alone (theirs): "
        "give --run-dir a folder of its own"
    )


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777, 0o1777])
def test_the_folder_of_another_user_is_refused(mode: int) -> None:
    assert refused(mode, owner=NOBODY) == (
        "belongs to user 65534, expected 0, as whom this runs: give --run-dir a folder of its own"
    )


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (THEIRS, "theirs"),
        (Entry("control.sock", SOCK | 0o777, NOBODY), "control.sock of user 65534"),
        (Entry("pools", DIR | 0o777, NOBODY, 2), "pools of user 65534"),
        (Entry("termination-log", FILE | 0o666, NOBODY), "termination-log of user 65534"),
        (Entry("lost+found", DIR | 0o755, NOBODY), "lost+found of user 65534"),
        (Entry("lost+found", FILE | 0o600, ROOT), "lost+found"),
        (Entry("termination-log", LINK | 0o777, ROOT), "termination-log"),
        (Entry("termination-log", DIR | 0o755, ROOT), "termination-log"),
        (Entry("supervisor.lock", LINK | 0o777, ROOT), "supervisor.lock"),
        (Entry("supervisor.lock", FILE | 0o600, ROOT, 2), "supervisor.lock"),
        (Entry("\x1b[2J\n\udcff", FILE | 0o600, ROOT), r"\x1b[2J\n\udcff"),
    ],
)
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2775, 0o770])
def test_an_open_folder_with_anything_of_others_is_refused(
    mode: int, entry: Entry, named: str
) -> None:
    assert refused(mode, (*OURS, entry)) == (
        f"others may write to it (mode {mode:04o}) and it is not ours alone ({named}): "
        "give --run-dir a folder of its own"
    )


def test_many_foreign_names_are_few_in_the_message() -> None:
    many = [Entry(f"f{number}", FILE | 0o600, ROOT) for number in range(9)]
    assert "(f0, f1, f2 and 6 more)" in str(refused(0o1777, many))


entries = st.builds(
    Entry,
    st.sampled_from(["supervisor.lock", "pools", "termination-log", "lost+found", "x", ".", "\n"]),
    st.sampled_from([FILE, DIR, LINK, SOCK]).map(lambda kind: kind | 0o600),
    st.sampled_from([ROOT, NOBODY, 1000]),
    st.integers(1, 3),
)


@given(st.integers(0, 0o7777), st.sampled_from([ROOT, NOBODY]), st.lists(entries, max_size=4))
def test_nothing_that_others_can_change_is_used(mode: int, owner: int, found: list[Entry]) -> None:
    reason = refused(mode, found, owner=owner)
    if reason is not None:
        assert "\n" not in reason
        return
    assert owner == ROOT
    if mode & 0o022:
        assert all(entry.uid == ROOT for entry in found)
