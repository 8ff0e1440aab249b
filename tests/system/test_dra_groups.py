"""A claim's NPUs are an RSD group as long as it is prepared: real worker, simulated vendor tool."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, NamedTuple

import pytest
import yaml

from tests.sim.dra_cluster import SimCluster
from tests.sim.dra_records import Claim, DraAnswer
from tests.sim.kubelet import SimKubelet
from tests.sim.rsd import SimRsd
from tests.sim.stack import Stack
from tests.system.scene import ATOMS, config, pool

pytestmark = pytest.mark.system

DRIVER: Final = "npu.rebellions.ai"
POOL: Final = pool("ATOM", drivers=["rebellions"], export="dra", dra={"driverName": DRIVER})
NAME: Final = "rebellions.ai/ATOM"
NPUS: Final = tuple(f"rbln{n}" for n in range(4))
DEVICES: Final = tuple(bdf.replace(":", "-").replace(".", "-") for bdf in ATOMS)
WITHIN_S: Final = 30.0


class Scene(NamedTuple):
    """What a test has."""

    stack: Stack
    cluster: SimCluster
    rsd: SimRsd

    @property
    def kubelet(self) -> SimKubelet:
        return self.stack.kubelet

    def claim(self, name: str, *numbers: int) -> Claim:
        return self.cluster.create_claim(name, DRIVER, [DEVICES[number] for number in numbers])

    def prepare(self, claim: Claim) -> DraAnswer:
        return self.kubelet.dra.prepare(DRIVER, [claim])[claim.uid]

    def unprepare(self, claim: Claim) -> str:
        return self.kubelet.dra.unprepare(DRIVER, [claim])[claim.uid]

    def nodes(self, claim: Claim) -> set[tuple[str, str]]:
        """Host and container paths of all devices of a claim."""
        (path,) = (self.stack.root / "var/run/cdi").glob(f"*{claim.uid}*")
        spec: dict[str, Any] = yaml.safe_load(path.read_text())
        return {
            (node["hostPath"], node["path"])
            for device in spec["devices"]
            for node in device["containerEdits"].get("deviceNodes", ())
        }

    def wait(self, condition: Callable[[], object], what: str) -> None:
        end = monotonic() + WITHIN_S
        while not condition():
            assert monotonic() < end, f"not within {WITHIN_S:g} s: {what}\n{self.stack.story()}"
            sleep(0.02)

    def kill_worker(self) -> None:
        former = self.stack.workers()[NAME]
        os.kill(former, signal.SIGKILL)
        self.stack.wait_status(
            lambda status: status.pools[NAME].worker.pid not in {None, former},
            what="another worker",
        )
        self.wait_registered()

    def wait_registered(self) -> None:
        dra = self.kubelet.dra
        assert dra.comes(lambda _: len(dra.endpoints(DRIVER)) == 1, WITHIN_S), "no driver"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with SimCluster(tmp_path, "node-1") as cluster:
        stack = Stack(
            config(POOL),
            arguments=("--node-name", "node-1", "--kubeconfig", str(cluster.kubeconfig)),
            kubelet=lambda folder: SimKubelet(folder, plugin_watcher=True),
        )
        rsd = SimRsd(stack.root, NPUS)
        with stack:
            scene = Scene(stack, cluster, rsd)
            scene.wait_registered()
            yield scene


def test_a_container_has_its_claims_group_as_rsd0_until_the_claim_ends(scene: Scene) -> None:
    one, two = scene.claim("one", 0, 1), scene.claim("two", 3)
    assert [scene.prepare(one).error, scene.prepare(two).error] == ["", ""]
    assert scene.rsd.groups == {1: {"rbln0", "rbln1"}, 2: {"rbln3"}}
    assert scene.nodes(one) == {
        ("/dev/rbln0", "/dev/rbln0"),
        ("/dev/rbln1", "/dev/rbln1"),
        ("/dev/rsd1", "/dev/rsd0"),
    }
    assert scene.nodes(two) == {("/dev/rbln3", "/dev/rbln3"), ("/dev/rsd2", "/dev/rsd0")}
    assert scene.unprepare(one) == ""
    assert scene.rsd.groups == {2: {"rbln3"}}


def test_a_claim_without_a_group_is_refused_and_leaves_nothing(scene: Scene) -> None:
    scene.rsd.behave(create="fails")
    claim = scene.claim("one", 0, 1)
    assert "ioctl: Input/output error" in scene.prepare(claim).error
    assert scene.rsd.groups == {}
    assert list((scene.stack.root / "var/run/cdi").glob("*claim*")) == []
    scene.rsd.behave()
    assert scene.prepare(claim).error == ""


def test_a_group_that_a_killed_worker_made_is_used_by_the_next_call(scene: Scene) -> None:
    claim = scene.claim("one", 0, 1)
    assert scene.prepare(claim).error == ""
    scene.kill_worker()
    assert scene.prepare(claim).error == ""
    assert scene.rsd.groups == {1: {"rbln0", "rbln1"}}


def test_groups_of_nobody_are_removed_and_others_stay(scene: Scene) -> None:
    held = scene.claim("held", 0)
    assert scene.prepare(held).error == ""
    scene.kubelet.pods.hold_claim(DRIVER, [DEVICES[2]])
    scene.rsd.set_groups({"rbln0": 1, "rbln1": 7, "rbln2": 8, "rbln3": 9, "rbln9": 9})
    scene.kill_worker()  # the next one checks at its start
    scene.wait(lambda: 7 not in scene.rsd.groups, "the orphan is removed")
    assert scene.rsd.groups == {1: {"rbln0"}, 8: {"rbln2"}, 9: {"rbln3", "rbln9"}}


def test_a_group_that_could_not_be_removed_is_removed_later(scene: Scene) -> None:
    claim = scene.claim("one", 0)
    assert scene.prepare(claim).error == ""
    scene.rsd.behave(remove="fails")
    assert scene.unprepare(claim) == "", "a pod must not wait for a tool for ever"
    assert scene.rsd.groups == {1: {"rbln0"}}
    status = scene.stack.wait_status(
        lambda status: status.pools[NAME].problems, what="the problem is shown"
    )
    (problem,) = status.pools[NAME].problems
    assert (problem.code, problem.severity) == ("rsd-missing", "warning")
    scene.rsd.behave()
    scene.wait(lambda: scene.rsd.groups == {}, "the group is removed")


def test_without_the_tool_containers_have_group_0(scene: Scene) -> None:
    claim = scene.claim("one", 0)
    scene.rsd.tool.unlink()
    scene.kill_worker()
    assert scene.prepare(claim).error == ""
    assert scene.nodes(claim) == {("/dev/rbln0", "/dev/rbln0"), ("/dev/rsd0", "/dev/rsd0")}
    status = scene.stack.wait_status(
        lambda status: status.pools[NAME].problems, what="the problem is shown"
    )
    (problem,) = status.pools[NAME].problems
    assert (problem.code, problem.severity) == ("rbln-stat-missing", "note")
