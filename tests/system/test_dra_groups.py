"""A claim's NPUs are an RSD group as long as it is prepared: real worker, simulated vendor tool."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.claim_scene import DEVICES, DRIVER, NAME, Scene, claim_node
from tests.system.scene import ATOMS

pytestmark = pytest.mark.system


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with claim_node(tmp_path) as scene:
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


def test_a_checkpoint_that_cannot_be_locked_ends_no_worker(scene: Scene) -> None:
    scene.rsd.set_groups({"rbln1": 7})
    lock = scene.kubelet.folder / "plugins" / DRIVER / "checkpoint.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir(parents=True)  # no file can be opened there, not even by root
    scene.kill_worker()
    status = scene.stack.wait_status(
        lambda status: any(
            one.code == "rsd-missing" and "checkpoint.lock" in one.text
            for one in status.pools[NAME].problems
        ),
        what="the problem is shown",
    )
    worker = status.pools[NAME].worker.pid
    lock.rmdir()
    scene.wait(lambda: 7 not in scene.rsd.groups, "the orphan is removed")
    assert scene.stack.status().pools[NAME].worker.pid == worker


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


def test_the_group_of_an_npu_that_was_away_is_removed_when_it_is_back(scene: Scene) -> None:
    """Its claim may have ended meanwhile, and nobody knew the NPU's name."""
    away = ATOMS[2]
    device = scene.stack.node.devices[away]
    scene.stack.node.remove(away)
    scene.stack.ctl("rescan")
    scene.stack.wait_status(
        lambda status: "unplugged" in status.pools[NAME].devices[away].reason, what="it is gone"
    )
    scene.rsd.set_groups({"rbln2": 5})
    scene.stack.node.add(device)
    scene.stack.ctl("rescan")
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
