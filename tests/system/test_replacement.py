"""A worker with other options or of another version is replaced while it serves."""

import os
import signal

import pytest

from tests.sim.kubelet import SimKubelet, kubelet_1_34, kubelet_1_37
from tests.sim.kubelet_records import Registered
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM,
    VMS,
    allocatable,
    eventually,
    lowest_allocatable,
    served,
    sockets,
    untouched,
)

pytestmark = pytest.mark.system

POOLS = {ATOM: ATOMS, VM: VMS}


def start_with_other_options(stack: Stack) -> dict[str, int]:
    """Start the next supervisor with other options; the workers that it finds, by pool."""
    found = {name: pid for name, pid in stack.workers().items() if pid}
    stack.kill()
    stack.arguments = (*stack.arguments, "--log-level", "debug")
    stack.start()
    return found


def only_new_workers(stack: Stack, old: dict[str, int]) -> None:
    """Wait until all pools are served by one new worker each, and nobody else is left."""
    stack.wait_status(
        lambda s: s.supervisor.ready and not set(old.values()) & set(stack.processes()),
        what="the new workers are listed, the old ones have left",
    )
    eventually(
        lambda: sorted(stack.processes()) == sorted([stack.pid, *stack.workers().values()]),
        what="one worker a pool, and nobody else",
    )
    assert sorted(p.name for p in (stack.run_dir / "pools").glob("*.lock")) == [
        "rebellions.ai_ATOM.lock",
        "rebellions.ai_VM.lock",
    ]
    eventually(lambda: len(sockets(stack)) == len(POOLS), what="a socket a pool")
    assert {pool.worker.restarts for pool in stack.status().pools.values()} == {0}


def registrations(stack: Stack, name: str) -> int:
    """How often a pool was registered."""
    return sum(
        isinstance(one, Registered) and one.resource == name for one in stack.kubelet.records
    )


def beside_each_other(stack: Stack, old: dict[str, int]) -> dict[str, int]:
    """Wait until new workers run beside the old ones; the new ones, by pool."""
    status = stack.wait_status(
        lambda s: all(p.worker.pid not in {None, *old.values()} for p in s.pools.values()),
        what="new workers beside the old ones",
    )
    assert set(old.values()) <= set(stack.processes())
    return {name: pool.worker.pid or 0 for name, pool in status.pools.items()}


@pytest.mark.parametrize("kubelet", [kubelet_1_34, kubelet_1_37])
def test_the_new_worker_is_listed_before_the_old_one_leaves(kubelet: type[SimKubelet]) -> None:
    with Stack(TWO_POOLS, kubelet=kubelet) as stack:
        served(stack)
        old = start_with_other_options(stack)
        only_new_workers(stack, old)
        for name, ids in POOLS.items():
            allocatable(stack, name, len(ids))
            if stack.kubelet.keeps_each_socket:
                assert lowest_allocatable(stack.kubelet, name) == len(ids)
        eventually(
            lambda: all(registrations(stack, name) >= 3 for name in POOLS),
            what="each new worker has registered again, after the old one",
        )
        # The next supervisor finds the new workers by their lock files, and adopts them.
        new = stack.workers()
        with untouched(stack, *POOLS):
            stack.kill()
            stack.start()
            stack.wait_status(lambda s: s.supervisor.ready, what="they are adopted")
            assert stack.workers() == new


def test_the_new_worker_repeats_its_list_once_the_old_one_has_left() -> None:
    """A list of the old one may arrive after it: the kubelet takes each stream's."""
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        old = start_with_other_options(stack)
        only_new_workers(stack, old)
        former = {stack.kubelet.messages(name)[0].endpoint for name in POOLS}
        eventually(
            lambda: (
                not former
                & {one.endpoint for name in POOLS for one in stack.kubelet.messages(name)[-2:]}
            ),
            what="the last two lists of each pool are of its new worker",
        )


def test_the_new_worker_gets_calls_although_the_old_one_registered_last() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_34) as stack:
        served(stack)
        former = sockets(stack)
        old = start_with_other_options(stack)
        stack.wait_status(
            lambda s: all(
                pool.registered and pool.worker.pid not in {None, *old.values()}
                for pool in s.pools.values()
            ),
            what="the new workers are listed",
        )
        for name in former:  # the old workers serve for a second more, and register again
            (stack.kubelet.plugins / name).unlink(missing_ok=True)
        only_new_workers(stack, old)
        for name, ids in POOLS.items():
            allocatable(stack, name, len(ids))
            assert stack.kubelet.allocate(name, [ids]).container_responses


def test_the_old_worker_serves_while_the_new_one_is_not_listed() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.knobs.refusal = "not now"
        old = start_with_other_options(stack)
        new = beside_each_other(stack, old)
        os.kill(new[ATOM], signal.SIGKILL)
        stack.wait_status(
            lambda s: s.pools[ATOM].worker.pid not in {None, new[ATOM]}, what="another new one"
        )
        for name, ids in POOLS.items():
            assert stack.kubelet.allocate(name, [ids]).container_responses
        stack.kubelet.knobs.refusal = None
        stack.wait_status(lambda s: s.supervisor.ready, what="the new workers are listed")
        eventually(
            lambda: not set(old.values()) & set(stack.processes()), what="the old ones have left"
        )
        for name, ids in POOLS.items():
            assert lowest_allocatable(stack.kubelet, name) == len(ids)


def test_an_old_worker_that_dies_leaves_the_pool_to_the_new_one() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.knobs.refusal = "not now"
        old = start_with_other_options(stack)
        new = beside_each_other(stack, old)
        os.kill(old[ATOM], signal.SIGKILL)
        eventually(
            lambda: "worker died before its successor was listed" in stack.log, what="it is seen"
        )
        stack.kubelet.knobs.refusal = None
        only_new_workers(stack, old)
        assert stack.workers() == new


def test_a_supervisor_that_dies_between_both_leaves_one_worker_a_pool() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.knobs.refusal = "not now"
        old = start_with_other_options(stack)
        beside_each_other(stack, old)
        stack.kill()
        stack.start()
        stack.kubelet.knobs.refusal = None
        stack.wait_status(
            lambda s: s.supervisor.ready and not set(old.values()) & set(stack.processes()),
            30.0,
            what="the old workers have left",
        )
        eventually(
            lambda: sorted(stack.processes()) == sorted([stack.pid, *stack.workers().values()]),
            what="one worker a pool, and nobody else",
        )
        for name, ids in POOLS.items():
            assert lowest_allocatable(stack.kubelet, name) == len(ids)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_stop_between_both_ends_all_of_them(hangs: bool) -> None:  # noqa: FBT001
    with Stack(TWO_POOLS, arguments=["--use-cdi"], kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.knobs.refusal = "not now"
        old = start_with_other_options(stack)
        beside_each_other(stack, old)
        if hangs:
            os.kill(old[ATOM], signal.SIGSTOP)
        assert stack.stop().code == 0
        assert stack.processes() == ()
        assert not list((stack.root / "var/run/cdi").glob("*.json"))


def test_the_files_of_a_replaced_worker_go_on_with_the_new_one() -> None:
    with Stack(TWO_POOLS, arguments=["--use-cdi"], kubelet=kubelet_1_37) as stack:
        served(stack)
        specs = set((stack.root / "var/run/cdi").iterdir())
        old = start_with_other_options(stack)
        only_new_workers(stack, old)
        assert set((stack.root / "var/run/cdi").iterdir()) == specs
        assert stack.stop().code == 0
        assert not list((stack.root / "var/run/cdi").iterdir())
