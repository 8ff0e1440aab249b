"""Files that are ours, and files that others have put in their place."""

import fcntl
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbln_worker.host.manifest import FileManifest, remove_files, remove_unlocked


def test_a_file_is_whole_and_has_its_mode_and_its_folder(tmp_path: Path) -> None:
    ledger = FileManifest(tmp_path / "list")
    place = tmp_path / "a" / "b" / "file"
    assert ledger.write_file(place, "text", 0o444, flush=True) == ""
    assert place.read_text() == "text"
    assert stat.S_IMODE(place.stat().st_mode) == 0o444
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o755
    assert list(place.parent.iterdir()) == [place]


def test_a_file_is_replaced_never_changed(tmp_path: Path) -> None:
    ledger = FileManifest(tmp_path / "list")
    place = tmp_path / "file"
    ledger.write_file(place, "one", 0o444, flush=False)
    with place.open() as reader:
        assert ledger.write_file(place, "two", 0o444, flush=False) == ""
        assert reader.read() == "one"
    assert place.read_text() == "two"


def test_a_file_that_is_there_is_left_alone_and_one_that_is_gone_comes_back(tmp_path: Path) -> None:
    ledger = FileManifest(tmp_path / "list")
    place = tmp_path / "file"
    ledger.write_file(place, "text", 0o644, flush=False)
    inode = place.stat().st_ino
    ledger.write_file(place, "text", 0o644, flush=False)
    assert place.stat().st_ino == inode
    place.unlink()
    ledger.write_file(place, "text", 0o644, flush=False)
    assert place.read_text() == "text"


def test_the_next_life_takes_files_over_and_drops_those_that_nobody_needs(tmp_path: Path) -> None:
    first = FileManifest(tmp_path / "list")
    for name in ("a", "b"):
        first.write_file(tmp_path / name, "text", 0o444, flush=False)
    assert first.save_list() == ""
    (tmp_path / "foreign").write_text("")
    second = FileManifest(tmp_path / "list")
    second.write_file(tmp_path / "a", "text", 0o444, flush=False)
    second.drop_others([tmp_path / "a"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "foreign", "list"]
    second.save_list()
    remove_files(tmp_path / "list")
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]
    remove_files(tmp_path / "list")


def test_what_another_instance_has_put_there_stays(tmp_path: Path) -> None:
    place = tmp_path / "file"
    old, new = FileManifest(tmp_path / "old"), FileManifest(tmp_path / "new")
    old.write_file(place, "text", 0o444, flush=False)
    old.save_list()
    new.write_file(place, "text", 0o444, flush=False)
    new.save_list()
    inode = place.stat().st_ino
    old.write_file(place, "text", 0o444, flush=False)  # not fought over
    old.drop_others([])
    remove_files(tmp_path / "old")
    assert place.stat().st_ino == inode
    remove_files(tmp_path / "new")
    assert not place.exists()


def test_what_somebody_has_changed_is_theirs(tmp_path: Path) -> None:
    ledger = FileManifest(tmp_path / "list")
    place = tmp_path / "file"
    ledger.write_file(place, "text", 0o644, flush=False)
    ledger.save_list()
    with place.open("a") as file:
        file.write("more")
    remove_files(tmp_path / "list")
    assert place.read_text() == "textmore"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files":{"/x":"y"}}', b"\xff"])
def test_a_list_that_is_none_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)
    ledger = FileManifest(path)
    assert ledger.write_file(tmp_path / "file", "text", 0o444, flush=False) == ""
    assert ledger.save_list() == ""
    remove_files(path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_told_and_counted(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    ledger = FileManifest(tmp_path / "list")
    place = tmp_path / "folder" / "file"
    why = ledger.write_file(place, "text", 0o444, flush=False)
    assert why.startswith(str(tmp_path))
    assert "Not a directory" in why or "File exists" in why
    assert ledger.failures == 1
    (tmp_path / "folder").unlink()
    assert ledger.write_file(place, "text", 0o444, flush=False) == ""


@contextmanager
def no_room() -> Iterator[None]:
    """No file may have any content (setrlimit(2)): a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_there_is_no_room_an_earlier_lifes_file_is_as_good(tmp_path: Path) -> None:
    place = tmp_path / "file"
    first = FileManifest(tmp_path / "list")
    first.write_file(place, "text", 0o444, flush=False)
    first.save_list()
    second = FileManifest(tmp_path / "list")
    with no_room():
        assert second.write_file(place, "text", 0o444, flush=False) == ""
        assert "File too large" in second.write_file(place, "other", 0o444, flush=True)
        assert "File too large" in second.write_file(tmp_path / "new", "text", 0o444, flush=False)
        assert place.read_text() == "text"
    assert second.failures == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "list"]
    remove_files(tmp_path / "list")
    assert not list(tmp_path.iterdir())


def test_a_list_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    ledger = FileManifest(tmp_path / "list" / "list")
    (tmp_path / "list").write_text("a file")
    ledger.write_file(tmp_path / "file", "text", 0o444, flush=False)
    assert "list" in ledger.save_list()


def test_a_list_that_somebody_removes_comes_back(tmp_path: Path) -> None:
    ledger = FileManifest(tmp_path / "list")
    assert ledger.save_list() == ""
    assert not list(tmp_path.iterdir()), "no list of nothing"
    ledger.write_file(tmp_path / "file", "text", 0o444, flush=False)
    ledger.save_list()
    (tmp_path / "list").unlink()
    assert ledger.save_list() == ""
    assert (tmp_path / "list").exists()


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path,
) -> None:
    ours, others = FileManifest(tmp_path / "ours.files"), FileManifest(tmp_path / "others.files")
    folder = tmp_path / "a"

    def killed(ledger: FileManifest) -> Path:
        """What is left of a write."""
        folder.mkdir(exist_ok=True)
        place = folder / "file"
        place.mkdir(exist_ok=True)  # the rename fails, and the file aside is kept by its lock
        before = set(folder.iterdir())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.unlink", lambda _: None)
            assert ledger.write_file(place, "text", 0o444, flush=False)
        (aside,) = set(folder.iterdir()) - before
        return aside

    left, living, foreign = killed(ours), killed(ours), killed(others)
    (folder / ".other.tmp").touch()
    with living.open() as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        ours.remove_stale((folder,))
        assert left.exists(), "it may be a thread's that writes at this moment"
        after = FileManifest(tmp_path / "ours.files")
        after.remove_stale((folder, tmp_path / "nowhere"))
        assert not left.exists()
        assert living.exists()
    after.remove_stale((folder,))
    assert not living.exists()
    assert foreign.exists()
    assert (folder / ".other.tmp").exists()


def test_marked_files_are_known_by_their_first_line(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    ours.write_text("# mark é\n{}")
    other.write_text("# mark e\n{}")
    for path in (ours, other, tmp_path / "nowhere", tmp_path):
        remove_unlocked(path, "# mark é\n")
    assert list(tmp_path.iterdir()) == [other]
