"""Two instances at once, as a rolling update with maxSurge 1 has them, at every kind of kubelet."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import UnreachableError, send_request
from tests.sim import processes
from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_book import Keeping
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM,
    VMS,
    eventually,
    lowest_allocatable,
    served,
    sight,
    sockets,
    streams,
    supervisor,
)

pytestmark = pytest.mark.system

POOLS: Final = {ATOM: ATOMS, VM: VMS}
STOPS_WITHIN_S: Final = 5.0


@contextmanager
def another(stack: Stack, run_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A second instance on the same node, with a run directory of its own as a pod has."""
    with stack.log_file.open("ab") as log:
        process = subprocess.Popen(
            supervisor(
                *("--config-file", stack.config_file),
                *("--host-root", stack.root),
                *("--run-dir", run_dir),
                *stack.arguments,
            ),
            cwd=REPOSITORY,
            env={**os.environ, processes.MARK: str(stack.run_dir)},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(STOPS_WITHIN_S)


def status(run_dir: Path) -> NodeStatus | None:
    """What the instance says, once it does."""
    try:
        reply = send_request(run_dir, Status())
    except UnreachableError:
        return None
    assert isinstance(reply, StatusReply)
    return reply.status


def is_ready(run_dir: Path) -> bool:
    """What a rolling update waits for before it stops the old pod."""
    seen = status(run_dir)
    return seen is not None and seen.supervisor.ready


def endpoints(run_dir: Path) -> dict[str, str]:
    """The sockets of the instance, and whose they are."""
    seen = status(run_dir)
    assert seen is not None
    return {pool.endpoint: name for name, pool in seen.pools.items() if pool.endpoint}


def listed_by(stack: Stack, run_dir: Path) -> bool:
    """The kubelet's calls go to this instance, and all its devices are allocatable."""
    seen = status(run_dir)
    return seen is not None and all(
        stack.kubelet.resource(name).endpoint == seen.pools[name].endpoint
        and stack.kubelet.resource(name).allocatable == len(ids)
        for name, ids in POOLS.items()
    )


def kubelet(keeping: Keeping, registration: str) -> Callable[[Path], SimKubelet]:
    return lambda folder: SimKubelet(
        folder, plugin_watcher=registration == "plugin-watcher", keeping=keeping
    )


RELEASES: Final = {"1.37": Keeping.PER_SOCKET, "1.34": Keeping.PER_NAME}


@pytest.mark.parametrize("registration", ["kubelet-sock", "plugin-watcher"])
@pytest.mark.parametrize("release", RELEASES)
def test_the_new_one_serves_and_the_old_one_leaves(release: str, registration: str) -> None:
    with Stack(
        TWO_POOLS,
        registration=registration,
        kubelet=kubelet(RELEASES[release], registration),
    ) as stack:
        served(stack)
        old = sockets(stack)
        run_dir = stack.run_dir.with_name("r2")
        with another(stack, run_dir):
            eventually(lambda: is_ready(run_dir), what="the new one is ready")
            assert not old & endpoints(run_dir).keys(), "each instance has sockets of its own"
            assert stack.stop(STOPS_WITHIN_S).code == 0
            eventually(lambda: listed_by(stack, run_dir), what="the new one is asked")
            assert not sockets(stack) & old, "the old one took its own sockets along"
            for name, ids in POOLS.items():
                assert stack.kubelet.allocate(name, [ids]).container_responses
            assert not [one for one in stack.kubelet.registrations if one.error]
            names = [one.endpoint for one in stack.kubelet.registrations]
            assert len(names) == len(set(names)), "no socket name is ever used twice"


def test_by_kubelet_sock_there_is_always_all_to_give_out() -> None:
    """Since 1.37; before, the end of the old one's stream ends the new one's once."""
    with Stack(
        TWO_POOLS,
        registration="kubelet-sock",
        kubelet=kubelet(Keeping.PER_SOCKET, "kubelet-sock"),
    ) as stack:
        served(stack)
        run_dir = stack.run_dir.with_name("r2")
        with another(stack, run_dir):
            eventually(lambda: is_ready(run_dir), what="the new one is ready")
            assert all(len(streams(stack, name)) == 2 for name in POOLS)
            assert stack.stop(STOPS_WITHIN_S).code == 0
            eventually(lambda: listed_by(stack, run_dir), what="the new one is asked")
            for name, ids in POOLS.items():
                assert stack.kubelet.resource(name).allocatable == len(ids)
                assert lowest_allocatable(stack.kubelet, name) == len(ids)


def test_an_old_one_whose_stream_is_ended_does_not_fight_the_new_one() -> None:
    """Registered again it would be the newest, and be asked in place of the new one."""
    with Stack(
        TWO_POOLS,
        registration="kubelet-sock",
        kubelet=kubelet(Keeping.PER_SOCKET, "kubelet-sock"),
    ) as stack:
        served(stack)
        old = endpoints(stack.run_dir)
        run_dir = stack.run_dir.with_name("r2")
        with another(stack, run_dir) as newer:
            eventually(lambda: is_ready(run_dir), what="the new one is ready")
            eventually(lambda: listed_by(stack, run_dir), what="the new one is asked")
            for endpoint, name in old.items():
                stack.kubelet.close_stream(name, endpoint)
            seen = stack.wait_status(
                lambda s: all(pool.state == "waiting" for pool in s.pools.values()),
                what="the old one waits",
            )
            assert {pool.reason for pool in seen.pools.values()} == {
                f"a younger instance serves the resource at {endpoint}"
                for endpoint in endpoints(run_dir)
            }
            assert len(stack.kubelet.registrations) == 4
            newer.kill()
            newer.wait()
            for pid in processes.marked(str(stack.run_dir)):
                if pid != stack.pid and pid not in stack.workers().values():
                    os.kill(pid, 9)
            served(stack)
            assert {sight(stack, name).endpoint for name in POOLS} <= sockets(stack)
