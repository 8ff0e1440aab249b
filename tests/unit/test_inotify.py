"""Folders that come and go are watched for as long as anybody wants to know."""

import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbln_worker.host.inotify import ANYTHING, PathWatch


class Watching:
    """A watch of two folders, one of which lies deep."""

    def __init__(self, root: Path) -> None:
        self.near = root / "near"
        self.deep = root / "a" / "b" / "c"
        self.watch = PathWatch((self.near, self.deep))

    def touched(self, *folders: Path) -> bool:
        """Whether news of these folders come (and of others perhaps), within a time."""
        wanted, seen = set(folders), set[Path]()
        poll = select.poll()
        poll.register(self.watch.fileno(), select.POLLIN)
        while not wanted <= seen and poll.poll(5000):
            seen |= self.watch.drain().keys()
        return wanted <= seen

    def quiet(self) -> bool:
        """Whether there is nothing to tell now: inotify queues in the call that changes."""
        return not self.watch.drain()


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    watching = Watching(tmp_path)
    with watching.watch:
        yield watching


def test_a_folder_that_comes_later(watching: Watching) -> None:
    watching.near.mkdir()
    assert watching.touched(watching.near)
    assert watching.quiet()
    (watching.near / "file").touch()
    assert watching.touched(watching.near)
    (watching.near / "file").unlink()
    assert watching.touched(watching.near)


def test_a_deep_folder_that_comes_all_at_once(watching: Watching) -> None:
    watching.deep.mkdir(parents=True)
    assert watching.touched(watching.deep)
    watching.watch.drain()
    (watching.deep / "file").touch()
    assert watching.touched(watching.deep)


def test_a_deep_folder_that_comes_step_by_step(watching: Watching) -> None:
    for folder in (watching.deep.parent.parent, watching.deep.parent, watching.deep):
        folder.mkdir()
        assert watching.touched(watching.deep)
    (watching.deep / "file").touch()
    assert watching.touched(watching.deep)


def test_a_folder_that_is_made_again_and_again(watching: Watching) -> None:
    for _ in range(3):
        watching.deep.mkdir(parents=True)
        assert watching.touched(watching.deep)
        (watching.deep / "file").touch()
        assert watching.touched(watching.deep)
        shutil.rmtree(watching.deep.parent.parent)
        assert watching.touched(watching.deep)
        while not watching.quiet():
            pass


def test_a_folder_that_is_renamed_away_and_replaced(watching: Watching) -> None:
    watching.near.mkdir()
    assert watching.touched(watching.near)
    watching.near.rename(watching.near.with_name("aside"))
    assert watching.touched(watching.near)
    watching.near.mkdir()
    assert watching.touched(watching.near)
    watching.watch.drain()
    (watching.near / "file").touch()
    assert watching.touched(watching.near)


def test_files_that_are_moved_in_and_out(watching: Watching, tmp_path: Path) -> None:
    watching.near.mkdir()
    assert watching.touched(watching.near)
    (tmp_path / "file").touch()
    watching.watch.drain()
    (tmp_path / "file").rename(watching.near / "file")
    assert watching.touched(watching.near)
    (watching.near / "file").rename(tmp_path / "file")
    assert watching.touched(watching.near)


def test_what_happens_elsewhere_is_no_news_of_a_folder_that_is_there(
    watching: Watching, tmp_path: Path
) -> None:
    watching.near.mkdir()
    watching.deep.mkdir(parents=True)
    assert watching.touched(watching.near, watching.deep)
    while not watching.quiet():
        pass
    (tmp_path / "elsewhere").touch()
    (watching.deep.parent / "elsewhere").touch()
    assert watching.quiet()
    (watching.near / "file").touch()
    assert watching.watch.drain() == {watching.near: {"file"}}
    (tmp_path / "a" / "elsewhere").mkdir()
    watching.deep.rmdir()
    watching.watch.drain()
    (watching.deep.parent / "elsewhere").unlink()
    assert watching.quiet()
    watching.deep.mkdir()
    assert watching.watch.drain() == {watching.deep: {ANYTHING}}


def test_what_happened_has_a_name_as_far_as_it_is_known(watching: Watching) -> None:
    watching.near.mkdir()
    assert watching.watch.drain()[watching.near] == {ANYTHING}
    (watching.near / "one").touch()
    (watching.near / "one").rename(watching.near / "other")
    assert watching.watch.drain() == {watching.near: {"one", "other"}}
    (watching.near / "other").unlink()
    watching.near.rmdir()
    assert ANYTHING in watching.watch.drain()[watching.near]


def test_a_file_in_a_folders_place_is_no_folder(watching: Watching) -> None:
    watching.near.touch()
    watching.watch.drain()
    watching.near.unlink()
    watching.near.mkdir()
    assert watching.touched(watching.near)
    (watching.near / "file").touch()
    assert watching.touched(watching.near)


def test_a_mode_of_a_file_is_no_news_of_its_folder(tmp_path: Path) -> None:
    """Though the folder is on the way to another one, of which its own mode is news."""
    near, below = tmp_path / "near", tmp_path / "near" / "below"
    below.mkdir(parents=True)
    (near / "file").touch()
    with PathWatch((near, below)) as watch:
        (near / "file").chmod(0o600)
        assert not watch.drain()
        near.chmod(0o700)
        assert watch.drain()[below] == {ANYTHING}


def test_a_folder_behind_a_link_that_is_replaced(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to("one")
    path = tmp_path / "link" / "folder"
    with PathWatch((path,)) as watch:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "link")
        assert watch.drain() == {path: {ANYTHING}}
        (tmp_path / "one" / "folder" / "file").touch()
        assert not watch.drain()
        (tmp_path / "two" / "folder" / "file").touch()
        assert watch.drain() == {path: {"file"}}


class CountedWatch(PathWatch):
    """A watch that counts how often it walks all paths."""

    walks = 0

    def renew_watches(self) -> None:
        self.walks += 1
        super().renew_watches()


def test_an_entry_of_a_folder_at_a_paths_end_costs_no_walk(tmp_path: Path) -> None:
    folder, inner = tmp_path / "dev", tmp_path / "dev/vfio"
    folder.mkdir()
    with CountedWatch((folder, inner)) as watch:
        before = watch.walks
        (folder / "rbln0").touch()
        assert watch.drain() == {folder: {"rbln0"}}
        assert watch.walks == before
        inner.mkdir()
        assert watch.drain() == {folder: {"vfio"}, inner: {ANYTHING}}
        (inner / "7").touch()
        assert watch.drain() == {inner: {"7"}}
        assert watch.walks == before + 1
