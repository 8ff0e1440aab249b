"""Readiness of a node with a DRA pool: it waits for the first slices, not for the API server."""

import os
import signal
from pathlib import Path

import pytest

from rbln_supervisor.core.status import NodeStatus
from rbln_worker.contract.problem import Code
from tests.sim.api_server import ApiRequest, RawAnswer, no_fault
from tests.system.dra_scene import DRIVER, DraScene, dra_node
from tests.system.scene import ATOM, VM, pool_status, served

pytestmark = pytest.mark.system

WAITING = "its ResourceSlices are not published yet"


def all_serve(scene: DraScene) -> None:
    served(scene.stack, VM)
    pool_status(scene.stack, ATOM, lambda pool: pool.state == "serving", what="it serves")


def start_waiting_worker(scene: DraScene) -> NodeStatus:
    """Replace the worker by one that can't publish anything yet; return the status then."""
    all_serve(scene)
    first = scene.driver
    scene.api.fault = hang
    os.kill(scene.stack.workers()[ATOM], signal.SIGKILL)
    scene.kubelet.wait_driver(DRIVER, lambda one: one.socket != first.socket)
    return scene.stack.wait_status(lambda now: now.pools[ATOM].reason == WAITING, what="it waits")


def hang(request: ApiRequest) -> RawAnswer | None:
    return RawAnswer(end="hang") if "resourceslices" in request.path else None


def test_a_pool_is_ready_when_its_first_slices_are_published(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        waiting = start_waiting_worker(scene)
        assert not waiting.supervisor.ready
        assert waiting.unready_reasons == (f"{ATOM} is starting: {WAITING}",)
        scene.api.fault = no_fault
        scene.api.drop_connections()
        all_serve(scene)
        assert scene.slices() != []
        assert scene.stack.ctl("probe", "ready").returncode == 0


def test_an_api_server_that_is_away_keeps_no_node_unready(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        start_waiting_worker(scene)
        scene.api.stop()
        all_serve(scene)
        assert scene.stack.ctl("probe", "ready").returncode == 0
        pool_status(
            scene.stack,
            ATOM,
            lambda pool: Code.API_SERVER_UNREACHABLE in {one.code for one in pool.problems},
            what="the problem is named",
        )
