"""A token that expires, a CA that changes, a clock that jumps: said, and nothing is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.clock import SimClock
from tests.system.claim_scene import DRIVER, NAME, Scene, claim_node
from tests.system.scene import VM

pytestmark = pytest.mark.system

DAY_S = 86_400


def token_expires(scene: Scene) -> None:
    scene.cluster.api.token = "the next one"  # noqa: S105
    scene.cluster.api.drop_connections()


def ca_changes(scene: Scene) -> None:
    scene.cluster.api.stop()
    scene.cluster.api.renew_certificate("the-next-ca")
    scene.cluster.api.start()


@pytest.mark.parametrize(
    ("happens", "words"), [(token_expires, "Unauthorized"), (ca_changes, "certificate")]
)
def test_claims_wait_for_credentials_and_nobody_restarts(
    tmp_path: Path, happens: Callable[[Scene], None], words: str
) -> None:
    with claim_node(tmp_path) as scene:
        kept, late = scene.claim("kept", 0), scene.claim("late", 1)
        answer = scene.prepare(kept)
        worker = scene.stack.workers()[NAME]
        happens(scene)
        refusal = scene.prepare(late).error
        assert "claim default/late can't be read" in refusal
        assert words in refusal
        assert scene.prepare(kept) == answer, "a prepared claim needs no API server"
        scene.stack.wait_status(
            lambda status: status.pools[NAME].problems, what="the problem is shown"
        )
        scene.cluster.trust_server()
        scene.wait(lambda: not scene.prepare(late).error, "the claim is prepared")
        scene.cluster.wipe_slices(DRIVER)
        scene.wait(lambda: scene.cluster.allocatable(DRIVER), "slices are published again")
        assert scene.stack.workers()[NAME] == worker
        assert [scene.unprepare(one) for one in (kept, late)] == ["", ""]


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    clock = SimClock(tmp_path)
    if not clock.is_possible:
        pytest.skip("no C compiler: the clock can't jump for the processes under test only")
    (tmp_path / "api").mkdir()
    with claim_node(tmp_path / "api", under=clock.command) as scene:
        scene.kubelet.wait_listed(VM, 2)
        seen = len(scene.kubelet.messages(VM))
        kept = scene.claim("kept", 0)
        answer = scene.prepare(kept)
        for number, offset_s in enumerate((DAY_S, -DAY_S, -400 * DAY_S, 0)):
            clock.set_offset(offset_s)
            assert scene.prepare(kept) == answer
            fresh = scene.claim(f"fresh-{number}", 1)
            error = scene.prepare(fresh).error
            # A new connection may be refused: the server's certificate is of another time.
            assert error == "" or "certificate" in error
            assert scene.unprepare(fresh) == ""
            scene.wait_report()
            states = {one.now() for one in scene.kubelet.dra.health.values()}
            assert states == {"HEALTHY"}
        assert scene.unprepare(kept) == ""
        assert len(scene.kubelet.messages(VM)) == seen, "the other pool has sent nothing"
        assert scene.rsd.groups == {}
        assert list((scene.stack.root / "var/run/cdi").glob("*claim*")) == []
