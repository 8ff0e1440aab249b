"""The run directory on a real file system."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rbln_supervisor.run_dir import RunDirError, lock_run_dir, prepare_run_dir

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    return path


def refused(path: Path) -> str:
    with pytest.raises(RunDirError) as error:
        prepare_run_dir(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("given", [0o777, 0o1777, 0o2777, 0o3777, 0o2775, 0o755, 0o1700, 0o700])
def test_a_volume_is_closed_and_stays_so(volume: Path, given: int) -> None:
    (volume / "termination-log").touch(0o666)
    (volume / "lost+found").mkdir()
    os.chown(volume, -1, os.getgid())
    volume.chmod(given)
    for _ in range(2):
        prepare_run_dir(volume)
        assert mode(volume) & 0o777 == mode(volume / "pools") == 0o700
        with lock_run_dir(volume):
            assert (volume / "supervisor.lock").read_text() == f"{os.getpid()}\n"


@AS_ROOT
def test_a_volume_of_another_group(volume: Path) -> None:
    os.chown(volume, 0, 2000)
    volume.chmod(0o3777)
    with lock_run_dir(volume):
        assert (mode(volume), (volume / "pools").stat().st_uid) == (0o700, 0)


def to_link(path: Path) -> None:
    (path / "pools").symlink_to("/tmp")


def to_dangling(path: Path) -> None:
    (path / "pools").symlink_to("/nowhere")


def to_file(path: Path) -> None:
    (path / "pools").touch()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (to_link, "/pools: a link, expected a folder: remove it"),
        (to_dangling, "/pools: a link, expected a folder: remove it"),
        (to_file, "/pools: a file, expected a folder: remove it; "),
    ],
)
def test_what_is_in_the_place_of_the_pools(
    volume: Path, change: Callable[[Path], None], expected: str
) -> None:
    volume.chmod(0o700)
    change(volume)
    assert refused(volume).startswith(f"{volume}{expected}")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refused(file).startswith(f"{file}: a file, expected a folder: remove it; ")
    below = file / "r"
    assert refused(below).startswith(f"{below}: a part of this path is a file, expected a folder")
    assert not file.read_bytes()


def test_a_link_is_followed_only_where_nobody_else_can_replace_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    assert "a file, expected a folder" in refused(link)  # dangling
    target.mkdir()
    prepare_run_dir(link)
    assert {path.name for path in target.iterdir()} == {"pools"}
    for open_mode in (0o777, 0o1777, 0o775):
        tmp_path.chmod(open_mode)
        assert refused(link) == (
            f"{link}: a link that others may replace (they may write to {tmp_path}): give "
            "--run-dir the folder itself"
        )
    prepare_run_dir(target)


def test_what_was_refused_keeps_its_mode_and_its_files(volume: Path) -> None:
    (volume / "theirs").touch()
    for given in (0o777, 0o1777, 0o755):
        volume.chmod(given)
        assert "(theirs): give --run-dir a folder of its own" in refused(volume)
        assert mode(volume) == given
        assert [path.name for path in volume.iterdir()] == ["theirs"]


def test_what_others_put_there_while_it_is_closed_is_seen(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's file comes between the first reading and the real chmod."""
    volume.chmod(0o1777)
    chmod = os.chmod

    def chmod_late(folder: int, given: int) -> None:
        if given == 0o700:
            (volume / "theirs").touch()
        chmod(folder, given)

    monkeypatch.setattr(os, "chmod", chmod_late)
    assert "(theirs)" in refused(volume)
    assert mode(volume) == 0o1777


def test_a_second_supervisor_names_the_first(volume: Path) -> None:
    first = rf"\(pid {os.getpid()}\) serves from"
    with lock_run_dir(volume), pytest.raises(RunDirError, match=first), lock_run_dir(volume):
        pass
