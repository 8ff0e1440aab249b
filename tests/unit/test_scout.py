"""A look in a process of its own: what comes of it, and that it always ends."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from rbln_supervisor.discovery.process import DiscoveryProcess
from rbln_worker.contract.inventory import DiscoveryResult
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node
from tests.sim import processes
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import npus
from tests.sim.stack import REPOSITORY

NEEDS = Needs(frozenset({0x12, 0x02}))
SOON_S = 0.3


@pytest.fixture
def sim(tmp_path: Path) -> SimNode:
    sim = SimNode(tmp_path / "n")
    sim.add(*npus(4))
    return sim


def result(scout: DiscoveryProcess) -> DiscoveryResult:
    """Wait as the supervisor does."""
    while True:
        deadline = scout.next_deadline
        assert deadline is not None
        select.select(scout.descriptors, [], [], max(0.0, deadline - monotonic()))
        look = scout.poll_result(monotonic())
        if look is not None:
            return look


@contextmanager
def ended(scout: DiscoveryProcess) -> Iterator[DiscoveryProcess]:
    yield scout
    scout.stop_child()
    while scout.is_busy:
        select.select(scout.descriptors, [], [], 5)
        assert scout.poll_result(monotonic()) is None


def test_it_finds_what_a_look_finds(sim: SimNode) -> None:
    scout = DiscoveryProcess(sim.root, sim.root)
    for _ in range(2):
        scout.start_discovery(NEEDS)
        look = result(scout)
        assert look == scan_node(sim.root, NEEDS)
        assert len(look.node.functions) == 4
    assert not scout.is_busy


def test_more_than_a_pipe_holds(sim: SimNode) -> None:
    sim.add(SimDevice("0000:5e:00.0", driver="x", totalvfs=0, rbln=None, code="020000"))
    sim.tree.directory("/sys/bus/pci/devices/0000:5e:00.0/net")
    sim.enable_vfs("0000:5e:00.0", 400, driver="x")
    scout = DiscoveryProcess(sim.root, sim.root)
    scout.start_discovery(NEEDS)
    assert len(result(scout).node.functions) == 405


def test_a_look_that_hangs_is_ended(sim: SimNode) -> None:
    sim.hang("0000:20:00.0", "numa_node")
    scout = DiscoveryProcess(sim.root, sim.root, deadline_s=SOON_S)
    began = monotonic()
    scout.start_discovery(NEEDS)
    assert result(scout) == DiscoveryResult(
        failed="the discovery took more than 0.3 s and was ended"
    )
    assert monotonic() - began < 5
    with ended(scout):
        pass
    sim.set_numa_node("0000:20:00.0", 0)
    scout = DiscoveryProcess(sim.root, sim.root)
    scout.start_discovery(NEEDS)
    assert result(scout).failed is None


def test_a_look_that_says_too_much_is_ended(sim: SimNode) -> None:
    with ended(DiscoveryProcess(sim.root, sim.root, max_bytes=100)) as scout:
        scout.start_discovery(NEEDS)
        look = result(scout)
    assert look.failed == "the discovery said more than 100 bytes and was ended"


def test_a_look_that_is_killed(sim: SimNode) -> None:
    sim.hang("0000:20:00.0", "numa_node")
    scout = DiscoveryProcess(sim.root, sim.root)
    scout.start_discovery(NEEDS)
    (child,) = children()
    processes.kill([child])
    why = "the discovery ended without a result (killed by SIGKILL), see the log"
    assert result(scout) == DiscoveryResult(failed=why)


def test_nothing_stays_open(sim: SimNode) -> None:
    before = open_descriptors()
    scout = DiscoveryProcess(sim.root, sim.root, deadline_s=SOON_S)
    scout.start_discovery(NEEDS)
    result(scout)
    sim.hang("0000:20:00.0", "numa_node")
    scout.start_discovery(NEEDS)
    result(scout)
    with ended(scout):
        pass
    assert open_descriptors() == before


def test_what_a_look_started_ends_with_it(
    sim: SimNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.add(SimDevice("0000:5e:00.0", "8086", "1592", "020000", "ice"))
    tool, left = tmp_path / "ddptool", tmp_path / "left"
    tool.write_text(f"#!/bin/sh\nsleep 300 &\necho $! > {left}\nexit 8\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    scout = DiscoveryProcess(sim.root, sim.root)
    scout.start_discovery(Needs(frozenset({0x02}), ddp_profiles=True))
    assert result(scout).failed is None
    assert processes.has_ended(int(left.read_text()), 5)


def test_a_look_ends_itself_where_the_supervisor_is_gone(sim: SimNode) -> None:
    sim.hang("0000:20:00.0", "numa_node")
    script = f"""
import os
from pathlib import Path
from rbln_supervisor.discovery.process import DiscoveryProcess
from rbln_worker.host.discovery.inventory import Needs
scout = DiscoveryProcess(Path({str(sim.root)!r}), Path(), deadline_s=0.2)
scout.start_discovery(Needs(frozenset({{0x12}})))
print(*Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split(), flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert processes.has_ended(int(done.stdout), 20)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(word) for word in text.split()]
