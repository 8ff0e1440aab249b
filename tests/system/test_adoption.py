"""The next supervisor goes on with the living workers: nobody else notices that one died."""

import os
import signal
from collections.abc import Callable
from functools import partial

import pytest

from rbln_supervisor.config import accepted
from rbln_supervisor.core.status import CounterName, NodeStatus
from tests.sim import processes
from tests.sim.device import SimDevice
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
    eventually,
    pool,
    pool_status,
    served,
    sockets,
    streams,
    untouched,
)

pytestmark = pytest.mark.system

GONE = ATOMS[-1]


def ready(stack: Stack) -> NodeStatus:
    """Wait until the supervisor has everything in hand; then the status."""
    return stack.wait_status(lambda s: s.supervisor.ready, what="a ready supervisor")


def again(stack: Stack) -> NodeStatus:
    """Kill the supervisor and start the next one."""
    stack.kill()
    stack.start()
    return ready(stack)


def nobody_else(stack: Stack) -> None:
    """Wait until one worker a pool is all that lives."""
    eventually(
        lambda: sorted(stack.processes()) == sorted([stack.pid, *stack.workers().values()]),
        what="one worker a pool, and nobody else",
    )


# Nobody notices


def test_a_supervisors_death_is_nobodys() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, ATOM, VM):
            for _ in range(3):
                status = again(stack)
                assert {name: p.state for name, p in status.pools.items()} == {
                    ATOM: "serving",
                    VM: "serving",
                }
                assert {name: p.worker.pid for name, p in status.pools.items()} == workers
                assert {p.worker.restarts for p in status.pools.values()} == {0}
                assert {p.worker.last_exit for p in status.pools.values()} == {None}
        nobody_else(stack)
        assert len(stack.kubelet.registrations) == 2


def test_supervisors_that_die_while_they_start() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, ATOM, VM):
            stack.kill()
            for sign in ("worker of a previous supervisor", "ready to serve", "worker adopted"):
                seen = stack.log.count(sign)
                stack.start()
                eventually(partial(more, stack, sign, seen), what=sign)
                stack.kill()
            stack.start()
            ready(stack)
            assert stack.workers() == workers
        nobody_else(stack)


def test_an_adopted_worker_hears_of_everything() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        again(stack)
        stack.node.remove(GONE)
        assert stack.ctl("rescan").returncode == 0
        allocatable(stack, ATOM, len(ATOMS) - 1)
        stack.write_config(config(pool("ATOM", pciAddresses=list(ATOMS[:2])), VM_POOL))
        assert stack.ctl("reload").returncode == 0
        stack.kubelet.wait(
            lambda k: set(k.resource(ATOM).devices) == {*ATOMS[:2], GONE}, what="one device less"
        )
        assert stack.workers() == workers


def more(stack: Stack, sign: str, seen: int) -> bool:
    return stack.log.count(sign) > seen


# What happened meanwhile


def test_devices_that_came_and_went_meanwhile() -> None:
    new = SimDevice(bdf="0000:24:00.0", rbln="rbln4")
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, VM):
            stack.kill()
            stack.node.remove(GONE)
            stack.node.add(new)
            stack.start()
            stack.kubelet.wait(
                lambda k: (
                    {b for b, d in k.resource(ATOM).devices.items() if d.health == "Healthy"}
                    == {*ATOMS[:-1], new.bdf}
                ),
                what="the new device, and not the one that went",
            )
            status = ready(stack)
        assert stack.workers() == workers
        assert status.pools[ATOM].devices[GONE].reason == "unplugged"


def test_a_device_that_was_gone_stays_listed_as_long_as_from_its_start() -> None:
    with Stack(TWO_POOLS, arguments=["--gone-grace", "4"]) as stack:
        served(stack)
        stack.node.remove(GONE)
        assert stack.ctl("rescan").returncode == 0
        allocatable(stack, ATOM, len(ATOMS) - 1)
        with untouched(stack, ATOM, VM):
            seen = again(stack).pools[ATOM].devices[GONE]
            assert (seen.health, seen.reason) == ("Unhealthy", "unplugged")
        stack.kubelet.wait(lambda k: GONE not in k.resource(ATOM).devices, what="it leaves")
        assert set(stack.status().pools[ATOM].devices) == set(ATOMS[:-1])


def test_a_pool_whose_devices_all_went_keeps_its_worker() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        stack.kill()
        for bdf in ATOMS:
            stack.node.remove(bdf)
        stack.start()
        allocatable(stack, ATOM, 0)
        status = ready(stack)
        assert stack.workers() == workers
        assert {d.health for d in status.pools[ATOM].devices.values()} == {"Unhealthy"}


def test_a_worker_that_died_meanwhile_is_forked_and_the_other_adopted() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, VM):
            stack.kill()
            os.kill(workers[ATOM], signal.SIGKILL)
            assert processes.has_ended(workers[ATOM], 5.0)
            stack.start()
            status = served(stack)
            assert status.pools[ATOM].worker.pid != workers[ATOM]
            assert status.pools[ATOM].worker.restarts == 0
        nobody_else(stack)


def test_all_workers_died_meanwhile() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers().values()
        stack.kill()
        processes.kill(workers)
        stack.start()
        status = served(stack)
        assert not {p.worker.pid for p in status.pools.values()} & set(workers)
        for name in (ATOM, VM):
            assert len(streams(stack, name)) == 1


# Another configuration


def test_the_worker_of_a_pool_that_left_the_file_leaves() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM):
            stack.kill()
            stack.write_config(config(ATOM_POOL))
            stack.start()
            assert ready(stack).pools.keys() == {ATOM}
            nobody_else(stack)
            assert len(sockets(stack)) == 1
            assert not streams(stack, VM)


def test_another_file_takes_and_gives_devices_at_once() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, VM):
            stack.kill()
            some = pool("ATOM", pciAddresses=list(ATOMS[:2]), drivers=["rebellions"])
            stack.write_config(config(some, pool("NEW", pciAddresses=[ATOMS[2]]), VM_POOL))
            stack.start()
            served(stack, ATOM, VM, "rebellions.ai/NEW")
            stack.kubelet.wait(
                lambda k: set(k.resource(ATOM).devices) == set(ATOMS[:2]),
                what="neither what another pool has nor what nobody wants",
            )
        now = stack.workers()
        assert (now[ATOM], now[VM]) == (workers[ATOM], workers[VM])


def test_a_death_during_a_reload() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, VM):
            stack.write_config(config(pool("ATOM", pciAddresses=list(ATOMS[:3])), VM_POOL))
            os.kill(stack.pid, signal.SIGHUP)
            stack.kill()
            stack.start()
            stack.kubelet.wait(
                lambda k: set(k.resource(ATOM).devices) == set(ATOMS[:3]), what="the new file"
            )
            ready(stack)
        assert stack.workers() == workers


def test_a_file_that_can_not_be_used_leaves_the_workers_alone() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        stack.kill()
        stack.write_config("{")
        (stack.run_dir / accepted.FILE).unlink()  # with it the last accepted one is served
        stack.start()
        assert stack.wait_exit() == 1
        assert set(stack.processes()) == set(workers.values())
        stack.write_config(TWO_POOLS)
        stack.start()
        ready(stack)
        assert stack.workers() == workers
        assert len(stack.kubelet.registrations) == 2


# Who must not be adopted


def options_changed(stack: Stack) -> None:
    stack.arguments = (*stack.arguments, "--use-cdi")


def log_changed(stack: Stack) -> None:
    stack.arguments = (*stack.arguments, "--log-level", "debug")


@pytest.mark.parametrize("change", [options_changed, log_changed])
def test_workers_with_other_options_are_replaced(change: Callable[[Stack], None]) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        stack.kill()
        change(stack)
        stack.start()
        stack.wait_status(
            lambda s: all(p.worker.pid not in {None, *workers.values()} for p in s.pools.values()),
            what="other workers",
        )
        status = served(stack)
        assert {p.worker.restarts for p in status.pools.values()} == {0}
        assert stack.log.count("why=it was forked with other options than those of now") == 2
        nobody_else(stack)
        eventually(lambda: len(sockets(stack)) == 2, what="a socket a pool")


def test_a_worker_that_hangs_is_killed_and_replaced() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        hangs = stack.workers()[ATOM]
        with untouched(stack, VM):
            stack.kill()
            os.kill(hangs, signal.SIGSTOP)
            stack.start()
            status = stack.wait_status(
                lambda s: s.pools[VM].state == "serving", what="the other pool is adopted"
            )
            assert not status.supervisor.ready
            atom = status.pools[ATOM]
            assert (atom.state, atom.worker.pid) == ("starting", hangs)
            assert atom.reason == "the worker of an earlier supervisor has not said hello yet"
            stack.wait_status(
                lambda s: s.pools[ATOM].worker.pid not in {None, hangs}, 20.0, what="another worker"
            )
            served(stack)
        assert hangs not in stack.processes()


def test_one_that_hung_for_two_supervisors_and_goes_on_is_adopted() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, ATOM, VM):
            stack.kill()
            os.kill(workers[ATOM], signal.SIGSTOP)
            stack.start()
            stack.wait_status(lambda s: s.pools[VM].state == "serving", what="the first adopts")
            stack.kill()
            stack.start()
            stack.wait_status(lambda s: s.pools[VM].state == "serving", what="the second adopts")
            os.kill(workers[ATOM], signal.SIGCONT)
            ready(stack)
            assert stack.workers() == workers


def test_a_stop_while_it_adopts_ends_all() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        hangs = stack.workers()[ATOM]
        stack.kill()
        os.kill(hangs, signal.SIGSTOP)
        stack.start()
        stack.wait_status(lambda s: s.pools[VM].state == "serving", what="the other pool")
        assert stack.stop().code == 0
        assert stack.processes() == ()


# The life of an adopted worker


def test_an_adopted_workers_end_is_seen() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        again(stack)
        killed = stack.workers()[ATOM]
        with untouched(stack, VM):
            os.kill(killed, signal.SIGKILL)
            seen = pool_status(
                stack, ATOM, lambda p: p.worker.pid not in {None, killed}, what="another worker"
            )
            served(stack)
        assert seen.worker.restarts == 1
        assert seen.worker.last_exit is not None
        assert seen.worker.last_exit.startswith("ended; it was forked by an earlier supervisor")
        assert any("device healthy" in line for line in seen.worker.last_log)


def test_an_adopted_worker_that_hangs_is_killed() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        again(stack)
        hangs = stack.workers()[ATOM]
        with untouched(stack, VM):
            os.kill(hangs, signal.SIGSTOP)
            stack.wait_status(
                lambda s: s.pools[ATOM].worker.pid not in {None, hangs}, 20.0, what="another worker"
            )
            served(stack)


def test_the_files_of_adopted_pools_stay() -> None:
    with Stack(TWO_POOLS, arguments=["--use-cdi"]) as stack:
        served(stack)
        folder = stack.root / "var/run/cdi"
        before = {path: path.stat().st_ino for path in folder.iterdir()}
        assert before
        again(stack)
        assert {path: path.stat().st_ino for path in folder.iterdir()} == before


def test_a_worker_whose_lock_file_was_replaced_leaves_the_pool_to_the_next_owner() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, VM):
            stack.kill()
            (stack.run_dir / "pools" / "rebellions.ai_ATOM.lock").unlink()
            stack.start()
            assert processes.has_ended(workers[ATOM], 10.0)
            assert "the pool's lock file was replaced" in stack.log
            served(stack)
            assert stack.workers()[ATOM] != workers[ATOM]
        nobody_else(stack)
        assert len(streams(stack, ATOM)) == 1


def test_the_next_supervisor_waits_for_one_that_leaves() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        os.kill(stack.workers()[ATOM], signal.SIGSTOP)
        leaving = stack.pid
        os.kill(leaving, signal.SIGTERM)
        first = stack._supervisor
        assert first is not None
        stack._supervisor = None
        stack.start()
        assert first.wait(10) == 0
        assert stack.pid != leaving
        served(stack)
        nobody_else(stack)


def test_a_takeover_drops_no_frame() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        counters = again(stack).supervisor.counters
        assert CounterName.WORKER_FRAMES_UNKNOWN not in counters
        assert CounterName.WORKER_FRAMES_UNREADABLE not in counters
