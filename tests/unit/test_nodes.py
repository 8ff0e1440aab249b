"""What a node in /dev has to be before it is given out."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.host import nodes
from rbln_worker.host.facts import Reader
from rbln_worker.spec import below_root

NOTHING_WRONG = ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dev/vfio").mkdir(parents=True)
    (tmp_path / "dev/rbln0").touch()
    (tmp_path / "dev/vfio/7").touch()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/shadow").touch()
    return tmp_path


def fault(root: Path, path: str, *, real: bool = False) -> str:
    return nodes.node_problem(str(root), path, real=real)


def test_a_node_that_is_there(root: Path) -> None:
    assert fault(root, "/dev/rbln0") == fault(root, "/dev/vfio/7") == NOTHING_WRONG


@pytest.mark.parametrize("path", ["/dev/rbln1", "/dev/vfio/8", "/dev/rbln0/x", "/dev/a\0b"])
def test_a_node_that_is_not(root: Path, path: str) -> None:
    assert fault(root, path) == nodes.MISSING


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        ("rbln0", NOTHING_WRONG),
        ("/dev/rbln0", NOTHING_WRONG),
        ("../dev/./vfio//7", NOTHING_WRONG),
        ("vfio", NOTHING_WRONG),
        ("/dev/none", nodes.MISSING),
        ("/etc/shadow", "is a link that leads out of /dev"),
        ("../etc/shadow", "is a link that leads out of /dev"),
        ("../../../../../etc/shadow", "is a link that leads out of /dev"),
        ("/dev/../etc/shadow", "is a link that leads out of /dev"),
        ("..", "is a link that leads out of /dev"),
        (".", "is a link that leads out of /dev"),
        ("link", "is a link that leads nowhere"),
    ],
)
def test_a_link_is_followed_in_the_hosts_root_and_not_out_of_dev(
    root: Path, target: str, wrong: str
) -> None:
    (root / "dev/link").symlink_to(target)
    assert fault(root, "/dev/link") == wrong


def test_a_folder_that_is_a_link(root: Path) -> None:
    (root / "dev/inside").symlink_to("vfio")
    (root / "dev/outside").symlink_to("../etc")
    assert fault(root, "/dev/inside/7") == NOTHING_WRONG
    assert fault(root, "/dev/outside/shadow") == "is a link that leads out of /dev"
    assert fault(root, "/dev/vfio/../../etc/shadow") == "is a link that leads out of /dev"


@pytest.mark.parametrize("path", ["/etc/shadow", "/dev", "dev/rbln0", "/devil/x", ""])
def test_a_path_outside(root: Path, path: str) -> None:
    assert fault(root, path) == "does not lie in /dev"


def test_where_dev_is_real_a_node_is_a_character_device(root: Path) -> None:
    os.mkfifo(root / "dev/pipe")
    (root / "dev/link").symlink_to("vfio/7")
    assert fault(root, "/dev/rbln0", real=True) == "is a file, no character device"
    assert fault(root, "/dev/link", real=True) == "is a file, no character device"
    assert fault(root, "/dev/vfio", real=True) == "is a folder, no character device"
    assert fault(root, "/dev/pipe", real=True) == "is a pipe, no character device"
    assert not nodes.is_real(str(root))


def test_our_own_dev_is_real() -> None:
    assert nodes.is_real("")
    assert nodes.node_problem("", "/dev/null", real=True) == NOTHING_WRONG
    reader = Reader(Path("/"), host_visible=True)
    wrong = "/dev/fd is a link that leads out of /dev"
    if not stat.S_ISLNK(Path("/dev/fd").lstat().st_mode):  # pragma: no cover
        pytest.skip("no such link here")
    assert reader.node_problems(("/dev/null", "/dev/fd", "/dev/none")) == (wrong,)
    assert reader.missing_nodes(("/dev/null", "/dev/fd", "/dev/none")) == ("/dev/none",)


PARTS = st.lists(
    st.sampled_from(["dev", "vfio", "7", "rbln0", "..", ".", "", "etc", "shadow", "link", "a b"]),
    max_size=8,
)


@given(PARTS, PARTS)
def test_whatever_is_let_through_lies_in_dev(
    tmp_path_factory: pytest.TempPathFactory, target: list[str], path: list[str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "dev/vfio").mkdir(parents=True)
    for name in ("dev/rbln0", "dev/vfio/7"):
        (root / name).touch()
    (root / "etc").mkdir()
    (root / "etc/shadow").touch()
    # A relative one: of an absolute one the kernel would only say the same after a chroot(2).
    (root / "dev/link").symlink_to("/".join([".", *target]))
    asked = "/".join(["/dev", *path])
    if fault(root, asked) == NOTHING_WRONG:
        # As on the host, whose root has no parent: ".." does not leave it.
        place = below_root(root, asked)
        assert place.exists()
        assert place.is_relative_to(root / "dev")
