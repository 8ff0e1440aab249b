"""How a supervisor starts: what it waits for, what it refuses, what it accepts."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.sim import atomic
from tests.sim.node import SimNode
from tests.sim.nodes import demo, npus
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
    pool,
    pool_status,
    run_supervisor,
    served,
    untouched,
)

pytestmark = pytest.mark.system


# What it waits for


def waits(stack: Stack, name: str, reason: str) -> None:
    seen = pool_status(
        stack, name, lambda seen: seen.state == "waiting" and seen.reason == reason, what=reason
    )
    assert not seen.registered


def lines(stack: Stack, name: str, text: str) -> int:
    """How often a pool's log says something."""
    return sum(f" {name}: " in line and text in line for line in stack.log.splitlines())


def test_a_kubelet_that_never_was_here() -> None:
    stack = Stack(TWO_POOLS, late_kubelet=True)
    reason = "no device-plugins folder: waiting for the kubelet"
    with stack:
        for name in (ATOM, VM):
            waits(stack, name, reason)
        # Folders above it come one after the other: nothing of it is a kubelet.
        stack.kubelet.folder.mkdir(parents=True)
        for _ in range(2):
            stack.kubelet.plugins.mkdir()
            waits(stack, ATOM, "no kubelet.sock: waiting for the kubelet")
            stack.kubelet.plugins.rmdir()
            waits(stack, ATOM, reason)
        atomic.remove(stack.root / "var")
        stack.kubelet.start()
        served(stack)
        assert lines(stack, ATOM, reason) == 3  # once each time


def test_a_kubelet_that_is_down() -> None:
    stack = Stack(TWO_POOLS, late_kubelet=True)
    stack.kubelet.plugins.mkdir(parents=True)
    reason = "no kubelet.sock: waiting for the kubelet"
    with stack:
        for name in (ATOM, VM):
            waits(stack, name, reason)
        workers = stack.workers()
        # What happens in the folder besides is not told again.
        for number in range(20):
            (stack.kubelet.plugins / f"file{number}").touch()
        waits(stack, ATOM, reason)
        stack.kubelet.start()
        served(stack)
        assert stack.workers() == workers
        assert (lines(stack, ATOM, reason), lines(stack, VM, reason)) == (1, 1)


def test_the_watchers_folder_without_a_kubelet() -> None:
    with Stack(config(ATOM_POOL), late_kubelet=True, registration="plugin-watcher") as stack:
        waits(stack, ATOM, "no plugins_registry folder: waiting for the kubelet")
        stack.kubelet.registry.mkdir(parents=True)
        seen = pool_status(stack, ATOM, lambda seen: seen.endpoint, what="a socket")
        assert seen.endpoint is not None
        assert (stack.kubelet.registry / seen.endpoint).is_socket()
        assert not seen.registered


def test_a_pool_without_devices_waits_for_one() -> None:
    def build(node: SimNode) -> None:
        node.add(*npus(1, product="1120"))

    with Stack(TWO_POOLS, build) as stack:
        served(stack, ATOM)
        reason = "no device of the node matches its selectors"
        waits(stack, VM, reason)
        assert stack.status().supervisor.ready
        assert stack.status().pools[VM].worker.pid is None
        with untouched(stack, ATOM):
            for _ in range(3):
                assert stack.ctl("rescan").returncode == 0
            assert sum(reason in line and VM in line for line in stack.log.splitlines()) == 1
            other = npus(2)[1]
            stack.node.add(other)
            stack.node.bind(other.bdf, "vfio-pci")
            assert stack.ctl("rescan").returncode == 0
            allocatable(stack, VM, 1)


def test_a_node_without_a_pci_bus() -> None:
    def build(node: SimNode) -> None:
        node.tree.remove("/sys/bus")

    with Stack(config(ATOM_POOL), build) as stack:
        status = stack.wait_status(lambda status: status.supervisor.problems, what="a look")
        waits(stack, ATOM, "the node has not been discovered yet")
        (problem,) = status.supervisor.problems
        assert problem.text == (
            "the node's devices can't be listed: /sys/bus/pci/devices: No such file or directory"
        )
        demo(stack.node)
        assert stack.ctl("rescan").returncode == 0
        served(stack, ATOM)


# What it refuses


WRONG = {
    "empty": (b"", 1),
    "no JSON": (b"{resourceList", 1),
    "no object": (b"[]", 1),
    "no list": (b"{}", 1),
    "no usable pool": (json.dumps(config(pool("a_"), pool("b_"))).encode(), 2),
    "garbage": (os.urandom(10_000_000), 1),
    "much JSON": (b"[" * 10_000_000, 1),
    "no text": (b"\xff\xfe\0\0" * 100, 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_configuration_that_is_no_use_is_an_exit_code_and_a_line(
    tmp_path: Path, name: str
) -> None:
    content, fewest = WRONG[name]
    path = tmp_path / "config.json"
    path.write_bytes(content)
    done = run_supervisor("--config-file", path, "--run-dir", tmp_path / "r")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) >= fewest
    for line in done.stderr.splitlines():
        assert line.startswith("rbln-supervisor: ")
        assert len(line) < 1000
        assert "Traceback" not in line
    if fewest == 1:
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "r").exists()  # refused before anything was begun


def test_a_configuration_that_is_missing(tmp_path: Path) -> None:
    done = run_supervisor("--config-file", tmp_path / "none.json", "--run-dir", tmp_path / "r")
    assert (done.returncode, done.stderr) == (
        1,
        f"rbln-supervisor: {tmp_path}/none.json: can't be read: No such file or directory\n",
    )


@pytest.mark.parametrize(
    ("run_dir", "complaint"),
    [
        ("file", "has to be a folder that can be written to"),
        ("r" * 120, "a socket's path has 107 bytes at most (unix(7)); give --run-dir a shorter"),
    ],
)
def test_a_run_directory_that_is_no_use(tmp_path: Path, run_dir: str, complaint: str) -> None:
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TWO_POOLS))
    done = run_supervisor("--config-file", path, "--run-dir", tmp_path / run_dir)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("rbln-supervisor: ")
    assert complaint in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("--no-such-flag",),
        ("-no-such-flag=1",),
        ("--registration", "by-hand"),
        ("-use-cdi=perhaps",),
        ("--log-level", "loud"),
        ("--gone-grace", "-1"),
        ("--kubelet-dir", "relative"),
        ("--config-file",),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    done = run_supervisor(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: rbln-supervisor")
    assert "Traceback" not in done.stderr


# What it accepts


def test_the_references_flags() -> None:
    flags = (
        *("-resource-prefix", "amd.com", "-use-cdi=false", "-v=10", "--logtostderr"),
        *("--log-dir=/var/log", "--log-level=10", "-stderrthreshold=INFO", "-alsologtostderr"),
        *("-vmodule", "a=1", "-log_backtrace_at", "x:1", "trailing"),
    )
    plain = {key: value for key, value in VM_POOL.items() if key != "resourcePrefix"}
    with Stack(config(plain, ATOM_POOL), arguments=flags) as stack:
        served(stack, ATOM, "amd.com/VM")
        assert "rbln-supervisor: ignored: trailing" in stack.log
        assert "use-cdi" not in stack.log


def test_the_references_sample_with_its_trailing_comma() -> None:
    text = json.dumps(TWO_POOLS)[:-2] + ",]}"
    with Stack(text) as stack:
        served(stack)
        assert stack.log.count("WARNING supervisor: ") == 1


def test_log_lines_as_json() -> None:
    with Stack(TWO_POOLS, arguments=("--log-format", "json", "--log-level", "debug")) as stack:
        served(stack)
        os.kill(stack.workers()[ATOM], signal.SIGKILL)
        pool_status(stack, ATOM, lambda seen: seen.worker.restarts, what="another life")
        served(stack)
        said = [json.loads(line) for line in stack.log.splitlines()]
        assert {entry["who"] for entry in said} == {"supervisor", ATOM, VM}
        assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in said)
        (died,) = (entry for entry in said if entry["message"] == "worker died")
        assert (died["level"], died["pool"]) == ("error", ATOM)


def test_what_ends_a_start_is_json_too(tmp_path: Path) -> None:
    config_file = tmp_path / "c.json"
    config_file.write_text("{")
    ended = run_supervisor(
        *("--config-file", config_file, "--run-dir", tmp_path / "r", "--log-format", "json")
    )
    (line,) = ended.stderr.splitlines()
    said = json.loads(line)
    assert (ended.returncode, said["level"], said["who"]) == (1, "critical", "supervisor")
    assert str(config_file) in said["message"] or "line 1" in said["message"]


def test_a_deep_kubelet_folder_gets_hashed_socket_names() -> None:
    long = "x" * 63
    with Stack(config(pool(long, prefix="a" * 60 + ".example.org", drivers=["rebellions"]))) as (
        stack
    ):
        name = f"{'a' * 60}.example.org/{long}"
        allocatable(stack, name, len(ATOMS))
        endpoint = stack.kubelet.resource(name).endpoint
        assert endpoint is not None
        assert len(os.fsencode(stack.kubelet.plugins / endpoint)) <= 107
        assert stack.ctl("status").returncode == 0


def test_no_process_has_more_libraries_than_it_needs() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        for pid in stack.processes():
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "cygrpc" in maps, "it can be seen what is there"
            assert "libcrypto" not in maps
            assert "libssl" not in maps
