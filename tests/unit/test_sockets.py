"""Names of the pool's sockets, and what is left of dead ones."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.host.sockets import (
    MAX_PATH_BYTES,
    MIN_AGE_S,
    SocketPathError,
    remove_if_dead,
    remove_stale_sockets,
    unique_socket_name,
)

STEM = "rebellions.ai_ATOM"


def test_a_name_is_the_stem_and_sixteen_digits() -> None:
    folder = Path("/var/lib/kubelet/device-plugins")
    assert re.fullmatch(
        rf"{re.escape(STEM)}-[0-9a-f]{{16}}\.sock", unique_socket_name(folder, STEM)
    )
    assert len({unique_socket_name(folder, STEM) for _ in range(100)}) == 100


@given(st.integers(1, 68), st.text("abc.-_", min_size=1, max_size=320))
def test_every_path_fits(length: int, stem: str) -> None:
    folder = Path("/" + "f" * length)
    path = folder / unique_socket_name(folder, stem)
    assert len(os.fsencode(path)) <= MAX_PATH_BYTES
    assert path.suffix == ".sock"
    assert path.parent == folder


def test_stems_that_are_cut_alike_are_told_apart() -> None:
    folder = Path("/" + "f" * 60)
    first, second = (unique_socket_name(folder, "x" * 100 + end) for end in "ab")
    assert first[:-21] != second[:-21]
    assert first[:-21] == unique_socket_name(folder, "x" * 100 + "a")[:-21]


def test_a_folder_that_leaves_no_room() -> None:
    with pytest.raises(
        SocketPathError, match="give --device-plugins-dir or --plugins-registry-dir"
    ):
        unique_socket_name(Path("/" + "f" * 80), STEM)


@pytest.fixture
def folder(short_path: Path) -> Path:
    return short_path


def dead(path: Path, *, age_s: float = 60.0) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    born = time.time() - age_s  # noqa: TID251 - file times are wall clock times
    os.utime(path, (born, born))
    return path


@pytest.fixture
def living(folder: Path) -> Iterator[Path]:
    path = folder / f"{STEM}-{'a' * 16}.sock"
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(path))
        server.listen(0)
        for _ in range(3):  # a full backlog is a living server, too
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            client.connect_ex(str(path))
        os.utime(path, (0, 0))
        yield path


def sweep_now(folder: Path, stem: str = STEM) -> set[str]:
    return {path.name for path in remove_stale_sockets(folder, stem, time.time())}  # noqa: TID251


def test_only_our_dead_sockets_go(folder: Path, living: Path) -> None:
    ours = {dead(folder / name).name for name in (f"{STEM}-{'0' * 16}.sock", f"{STEM}.sock")}
    others = {
        dead(folder / name).name
        for name in (
            f"{STEM}-{'0' * 15}.sock",
            f"{STEM}-{'G' * 16}.sock",
            f"{STEM}2-{'0' * 16}.sock",
            f"x{STEM}-{'0' * 16}.sock",
            f"rebellionsXai_ATOM-{'0' * 16}.sock",
            "kubelet.sock",
        )
    }
    (folder / f"{STEM}-{'1' * 16}.sock").write_text("no socket")
    (folder / f"{STEM}-{'2' * 16}.sock").mkdir()
    (folder / f"{STEM}-{'3' * 16}.sock").symlink_to(folder / "nowhere")
    assert sweep_now(folder) == ours
    left = {path.name for path in folder.iterdir()}
    assert others <= left
    assert living.name in left
    assert not ours & left
    assert len(left) == len(others) + 4


def test_a_young_socket_may_be_about_to_be_served(folder: Path) -> None:
    path = dead(folder / f"{STEM}.sock", age_s=MIN_AGE_S / 2)
    assert sweep_now(folder) == set()
    dead_later = time.time() + MIN_AGE_S  # noqa: TID251
    assert remove_stale_sockets(folder, STEM, dead_later) == (path,)


def test_names_that_were_cut_are_swept_too(folder: Path) -> None:
    long = "x" * 200
    path = dead(folder / unique_socket_name(folder, long))
    assert sweep_now(folder) == set()
    assert sweep_now(folder, "y" * 200) == set()
    assert sweep_now(folder, long) == {path.name}


def test_a_folder_that_is_not_there_has_no_sockets(folder: Path) -> None:
    assert remove_stale_sockets(folder / "none", STEM, 0.0) == ()


def test_removing_a_socket_whose_server_ended(folder: Path, living: Path) -> None:
    path = dead(folder / "a.sock", age_s=0.0)
    assert remove_if_dead(path)
    assert not path.exists()
    assert not remove_if_dead(path)
    assert not remove_if_dead(living)
    assert living.exists()
    (folder / "file").touch()
    assert not remove_if_dead(folder / "file")
