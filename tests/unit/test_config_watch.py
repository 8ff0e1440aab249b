"""What is noticed of a file, and when: the time is the test's."""

import contextlib
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbln_supervisor.config.watch import RETRY_INTERVAL_S, ConfigWatch
from rbln_supervisor.core.discovery.debounce import DEBOUNCE_S, MAX_DEBOUNCE_S
from tests.sim.stack import REPOSITORY


class Watching:
    """A watch, and a clock that goes where nothing else does."""

    def __init__(self, path: Path) -> None:
        self.now = 1000.0
        self.watch = ConfigWatch(path, self.now)

    def noticed(self) -> bool:
        """Whether something is to be looked at now; inotify queues in the call that changes."""
        if self.watch.process_events(self.now):
            raise AssertionError("at once, where it may go on")
        if math.isinf(self.watch.next_deadline):
            return False
        assert self.now < self.watch.next_deadline <= self.now + DEBOUNCE_S
        self.now = self.watch.next_deadline
        return self.watch.process_events(self.now)


@contextlib.contextmanager
def watching(path: Path) -> Iterator[Watching]:
    one = Watching(path)
    try:
        assert one.noticed()  # what changed before
        assert not one.noticed()
        yield one
    finally:
        one.watch.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a" / "b" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text("1")
    return path


def test_what_is_no_change_of_the_file(path: Path) -> None:
    with watching(path) as one:
        (path.parent / "other").write_text("x")
        (path.parent / "other").rename(path.parent / "another")
        path.read_text()
        with path.open("a"):  # closed at the end of the block
            (path.parents[1] / "c").mkdir()
            shutil.rmtree(path.parents[1] / "c")
            assert not one.noticed()
        assert one.noticed()
        assert not one.noticed()


def test_each_step_of_the_way(path: Path, tmp_path: Path) -> None:
    with watching(path) as one:
        for step in (path, path.parent, path.parents[1]):
            aside = step.with_name("aside")
            step.rename(aside)
            assert one.noticed(), step
            aside.rename(step)
            assert one.noticed(), step
        shutil.rmtree(tmp_path / "a")
        assert one.noticed()
        path.parents[1].mkdir()
        assert one.noticed()
        path.parent.mkdir()
        assert one.noticed()
        path.write_text("1")
        assert one.noticed()
        assert not one.noticed()


def test_links_of_all_kinds(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "pools.json").write_text("1")
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "up").symlink_to("../x/y/../../link")  # relative, through .. and a link
    (tmp_path / "link").symlink_to(real)  # from the root
    with watching(tmp_path / "x" / "up" / "pools.json") as one:
        (real / "pools.json").write_text("2")
        assert one.noticed()
        (tmp_path / "other").mkdir()
        (tmp_path / "next").symlink_to("other")
        (tmp_path / "next").rename(tmp_path / "link")
        assert one.noticed()
        (real / "pools.json").write_text("3")
        assert not one.noticed()
        (tmp_path / "other" / "pools.json").write_text("4")
        assert one.noticed()
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to("link")  # leads nowhere
        assert one.noticed()
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to(real)
        assert one.noticed()


def test_another_name_of_the_same_file(path: Path, tmp_path: Path) -> None:
    """As a file that is mounted alone: nothing happens in the folder that is seen."""
    elsewhere = tmp_path / "elsewhere"
    os.link(path, elsewhere)
    with watching(path) as one:
        elsewhere.write_text("2")
        assert one.noticed()


def test_a_storm_is_looked_at_each_second(path: Path) -> None:
    with watching(path) as one:
        looks = 0
        for _ in range(100):
            path.write_text("x")
            looks += one.watch.process_events(one.now)
            one.now += MAX_DEBOUNCE_S / 20
        assert looks in {4, 5}  # five seconds, of which the last may not be over
        assert one.noticed()
        assert not one.noticed()


def test_a_queue_that_overflows(path: Path) -> None:
    others = [path.parent / "one", path.parent / "two"]
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip("a queue that takes too long to fill")
    with watching(path) as one:
        for number in range(most + 10):
            os.close(os.open(others[number % 2], os.O_WRONLY | os.O_CREAT))
        path.write_text("2")  # which nobody tells
        assert one.noticed()
        assert not one.noticed()


def test_a_path_that_is_none(tmp_path: Path) -> None:
    with watching(Path("/")) as one:
        assert one.watch.problem is None
    with watching(tmp_path / "a\0b" / "c"):
        pass
    (tmp_path / "file").write_text("1")
    with watching(tmp_path / "file" / "below") as one:
        (tmp_path / "file").unlink()
        (tmp_path / "file").mkdir()
        assert one.noticed()
        (tmp_path / "file" / "below").touch()
        assert one.noticed()


NONE_LEFT = """
import sys
from pathlib import Path
from rbln_supervisor.config.watch import RETRY_INTERVAL_S, ConfigWatch
limit, path = Path(sys.argv[1]), Path(sys.argv[2])
limit.write_text("0")
watch = ConfigWatch(path, 0.0)
print(watch.problem)
assert watch.process_events(0.2)
assert watch.next_deadline == RETRY_INTERVAL_S + 0.2, watch.next_deadline
path.write_text("2")
assert not watch.process_events(1.0)
assert not watch.process_events(RETRY_INTERVAL_S + 0.2)
assert watch.process_events(RETRY_INTERVAL_S + 0.4)
limit.write_text("100")
assert not watch.process_events(watch.next_deadline)
assert watch.problem is None
assert watch.process_events(watch.next_deadline)
path.write_text("3")
assert not watch.process_events(100.0)
assert watch.process_events(100.2)
watch.close()
"""


@pytest.mark.parametrize("kind", ["instances", "watches"])
def test_no_inotify_is_left(path: Path, kind: str) -> None:
    """The limits of a user namespace of our own, which are the kernel's (user_namespaces(7))."""
    limit = f"/proc/sys/user/max_inotify_{kind}"
    done = subprocess.run(
        ["unshare", "-U", "-r", sys.executable, "-c", NONE_LEFT, limit, path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr and "Operation not permitted" in done.stderr:
        pytest.skip("no user namespace may be made here")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"changes of {path} are noticed within {RETRY_INTERVAL_S:g} s only "
        f"(no inotify {kind[:-1]} is left, "
        f"raise fs.inotify.max_user_{kind}); rbln-ctl reload reads it at once\n"
    ).replace("watche is", "watch is")
