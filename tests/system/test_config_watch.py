"""The configuration file changes in the ways files do, and nobody has to tell the supervisor."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import msgspec
import pytest

from rbln_supervisor.core.control.protocol import Rescan, RescanReply
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.ctl.client import send_request
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    allocatable,
    config,
    eventually,
    pool,
    served,
    untouched,
)

pytestmark = pytest.mark.system

NEW = "rebellions.ai/NEW"
WITH_NEW = config(pool("NEW", pciAddresses=[ATOMS[0]]), ATOM_POOL, VM_POOL)


def write(stack: Stack, value: object) -> None:
    """Into the file that is there."""
    stack.config_file.write_bytes(msgspec.json.encode(value))


def reloads(stack: Stack) -> int:
    return stack.status().supervisor.counters.get(CounterName.RELOADS, 0)


def refusals(stack: Stack) -> int:
    return stack.status().supervisor.counters.get(CounterName.RELOADS_REFUSED, 0)


def appears(stack: Stack) -> None:
    """The file with the pool NEW is in force."""
    allocatable(stack, NEW, 1)
    stack.wait_status(lambda s: NEW in s.pools and not s.supervisor.problems, what="a reload")


def disappears(stack: Stack) -> None:
    allocatable(stack, ATOM, len(ATOMS))
    stack.wait_status(lambda s: NEW not in s.pools and not s.supervisor.problems, what="a reload")


def problem(stack: Stack, text: str) -> None:
    stack.wait_status(
        lambda s: any(text in one.text for one in s.supervisor.problems), what=f"a problem: {text}"
    )


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack(TWO_POOLS, watch_config=True) as stack:
        served(stack)
        yield stack


def test_a_plain_write(stack: Stack) -> None:
    with untouched(stack, VM):
        write(stack, WITH_NEW)
        appears(stack)
        write(stack, TWO_POOLS)
        disappears(stack)
    assert reloads(stack) == 2


def test_an_editors_rename(stack: Stack) -> None:
    with untouched(stack, VM):
        for _ in range(2):
            stack.write_config(WITH_NEW)
            appears(stack)
            stack.write_config(TWO_POOLS)
            disappears(stack)


def test_an_editor_that_moves_the_old_file_away_first(stack: Stack) -> None:
    stack.config_file.rename(stack.config_file.with_suffix(".json~"))
    write(stack, WITH_NEW)
    appears(stack)
    write(stack, TWO_POOLS)
    disappears(stack)


def test_the_same_bytes_again_are_no_change(stack: Stack) -> None:
    with untouched(stack, ATOM, VM):
        for _ in range(3):
            stack.write_config(TWO_POOLS)
            stack.config_file.touch()
            stack.config_file.chmod(0o600)
    write(stack, WITH_NEW)
    appears(stack)
    assert (reloads(stack), refusals(stack)) == (1, 0)


def config_map(folder: Path, version: int, value: object) -> None:
    """Put a ConfigMap's next version into a folder as the kubelet's AtomicWriter does."""
    name = f"..2026_11_24_{version}"
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_bytes(msgspec.json.encode(value))
    (folder / "..data_tmp").symlink_to(name)
    before = (folder / "..data").readlink() if version else None
    (folder / "..data_tmp").rename(folder / "..data")
    if before is None:
        (folder / "config.json").symlink_to("..data/config.json")
    else:
        shutil.rmtree(folder / before)


class Mounted(Stack):
    """Its configuration is a ConfigMap's."""

    def write_config(self, config: object) -> None:
        folder = self.config_file.parent / "etc" / "pcidp"
        self.config_file = folder / "config.json"
        config_map(folder, 0, config)


def test_a_config_map() -> None:
    with Mounted(TWO_POOLS, watch_config=True) as stack:
        served(stack)
        folder = stack.config_file.parent
        with untouched(stack, VM):
            for version in (1, 3):
                config_map(folder, version, WITH_NEW)
                appears(stack)
                config_map(folder, version + 1, TWO_POOLS)
                disappears(stack)
        assert (reloads(stack), refusals(stack)) == (4, 0)


def test_a_folder_that_is_replaced_and_one_above_it() -> None:
    with Mounted(TWO_POOLS, watch_config=True) as stack:
        served(stack)
        etc, home = stack.config_file.parent.parent, stack.config_file.parents[2]
        with untouched(stack, VM):
            config_map(home / "new", 0, WITH_NEW)
            (etc / "pcidp").rename(home / "old")
            (home / "new").rename(etc / "pcidp")
            appears(stack)
            (home / "other").mkdir()
            (home / "old").rename(home / "other" / "pcidp")
            etc.rename(home / "etc.old")
            problem(stack, f"{stack.config_file}: can't be read: No such file")
            (home / "other").rename(etc)
            disappears(stack)
            shutil.rmtree(etc)
            problem(stack, "can't be read: No such file")
            etc.mkdir()
            config_map(etc / "pcidp", 0, WITH_NEW)
            appears(stack)
        assert reloads(stack) == 3


def test_a_link_to_a_file_elsewhere(stack: Stack) -> None:
    home = stack.config_file.parent
    for name, value in (("one", TWO_POOLS), ("two", WITH_NEW)):
        (home / name).mkdir()
        (home / name / "pools.json").write_bytes(msgspec.json.encode(value))
    (home / "here").symlink_to("one")
    (home / "link").symlink_to(home / "here" / "pools.json")
    with untouched(stack, VM):
        (home / "link").rename(stack.config_file)
        (home / "one" / "pools.json").write_bytes(msgspec.json.encode(WITH_NEW))
        appears(stack)
        (home / "one" / "pools.json").write_bytes(msgspec.json.encode(TWO_POOLS))
        disappears(stack)
        (home / "next").symlink_to("two")
        (home / "next").rename(home / "here")
        appears(stack)
    assert reloads(stack) == 3


def test_a_storm_of_writes_ends_with_the_last_one(stack: Stack) -> None:
    """However many: a look at the file 0.2 s after the last one, or each second."""
    began = monotonic()
    with untouched(stack, VM):
        for number in range(300):
            stack.write_config(
                config(
                    pool("NEW", pciAddresses=[ATOMS[0]], additionalInfo={"*": {"n": f"{number}"}}),
                    *(ATOM_POOL, VM_POOL),  # any of them may be read, where writing takes a second
                )
                if number % 2
                else "{"
            )
        stack.write_config(WITH_NEW)
        appears(stack)
    looks = reloads(stack) + refusals(stack)
    assert 1 <= looks <= 2 + (monotonic() - began) / 0.9


def test_a_file_that_is_written_slowly(stack: Stack) -> None:
    text = msgspec.json.encode(WITH_NEW)
    with untouched(stack, ATOM, VM):
        stack.config_file.write_bytes(text[:100])
        problem(stack, "reload refused: line 1, column")
        with stack.config_file.open("ab") as file:
            file.write(text[100:200])
            file.flush()
            stack.status()  # nobody has closed it
    with stack.config_file.open("ab") as file:
        file.write(text[200:])
    appears(stack)
    assert reloads(stack) == 1


def test_a_file_that_goes_and_comes_back(stack: Stack) -> None:
    text = stack.config_file.read_bytes()
    with untouched(stack, ATOM, VM):
        for _ in range(2):
            stack.config_file.unlink()
            problem(stack, f"reload refused: {stack.config_file}: can't be read: No such file")
            stack.config_file.write_bytes(text)
            stack.wait_status(lambda s: not s.supervisor.problems, what="all is well")
        assert refusals(stack) == 2


def test_things_in_its_place(stack: Stack) -> None:
    path = stack.config_file
    with untouched(stack, ATOM, VM):
        path.unlink()
        path.mkdir()
        problem(stack, "can't be read: Is a directory")
        path.rmdir()
        os.mkfifo(path)
        problem(stack, "expected a regular file")
        path.unlink()
        with path.open("wb") as file:
            file.truncate(1 << 40)
        problem(stack, "more than 1048576 bytes")
        path.unlink()
        path.symlink_to(path)
        problem(stack, "can't be read: Too many levels of symbolic links")
        path.unlink()
    write(stack, WITH_NEW)
    appears(stack)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(stack: Stack) -> None:
    with untouched(stack, ATOM, VM):
        stack.config_file.chmod(0)
        problem(stack, "permission denied")
    stack.config_file.chmod(0o600)
    write(stack, WITH_NEW)
    appears(stack)


def test_a_change_beside_rescans(stack: Stack) -> None:
    over = threading.Event()
    replies = []

    def rescan() -> None:
        while not over.is_set():
            replies.append(send_request(stack.run_dir, Rescan()))

    thread = threading.Thread(target=rescan)
    thread.start()
    try:
        with untouched(stack, VM):
            for _ in range(3):
                write(stack, WITH_NEW)
                appears(stack)
                write(stack, TWO_POOLS)
                disappears(stack)
    finally:
        over.set()
        thread.join()
    assert replies
    assert all(isinstance(reply, RescanReply) and not reply.problems for reply in replies)


def test_what_changed_while_it_started() -> None:
    stack = Stack(TWO_POOLS, watch_config=True)
    start = stack.start

    def start_and_write() -> None:
        start()
        eventually((stack.run_dir / "supervisor.lock").exists, what="it has read")
        stack.write_config(WITH_NEW)

    stack.start = start_and_write  # type: ignore[method-assign]
    with stack:
        appears(stack)


def test_it_can_be_turned_off() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM, VM):
            stack.write_config(WITH_NEW)
            send_request(stack.run_dir, Rescan())
            with Stack(TWO_POOLS, watch_config=True) as other:  # which takes as long
                served(other)
                other.write_config(WITH_NEW)
                appears(other)
            assert NEW not in stack.status().pools
        assert stack.ctl("reload").returncode == 0
        appears(stack)
