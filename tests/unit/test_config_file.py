"""Reading the configuration never waits, whatever the path leads to."""

import os
import socket
from pathlib import Path

import pytest

from rbln_supervisor.config.config_file import MAX_BYTES, read_file
from rbln_supervisor.core.config.node_config import ConfigError


def refusal(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    (line,) = caught.value.errors
    return line


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\x00{}\r\n")
    assert read_file(path) == b"\x00{}\r\n"
    assert read_file(str(path)) == b"\x00{}\r\n"


def test_a_configmaps_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "config.json").write_bytes(b"{}")
    (tmp_path / "config.json").symlink_to("..data/config.json")
    assert read_file(tmp_path / "config.json") == b"{}"


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert refusal(path) == f"{path}: can't be read: No such file or directory"


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: can't be read: Is a directory"


def test_a_fifo_that_nobody_writes_to(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert refusal(path) == f"{path}: expected a regular file"


def test_a_device() -> None:
    assert refusal("/dev/zero") == "/dev/zero: expected a regular file"


def test_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert refusal(path).startswith(f"{path}: can't be read: ")


def test_a_file_of_the_largest_size_and_one_more(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b" " * MAX_BYTES)
    assert len(read_file(path)) == MAX_BYTES
    path.write_bytes(b" " * (MAX_BYTES + 1))
    assert refusal(path) == (f"{path}: more than 1048576 bytes (1 MiB, a ConfigMap's limit)")


def test_a_file_that_says_it_is_empty_and_is_not() -> None:
    assert read_file("/proc/self/status").startswith(b"Name:")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0)
    assert refusal(path) == (f"{path}: can't be read: Permission denied")


def test_a_path_that_can_be_none() -> None:
    assert refusal("a\nb") == "'a\\nb': can't be read: No such file or directory"
    assert refusal("x" * 5000).endswith(": can't be read: File name too long")


def test_a_loop_of_links(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    assert refusal(path) == f"{path}: can't be read: Too many levels of symbolic links"
