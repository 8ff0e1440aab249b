"""Whatever a look at the node waits for, the supervisor answers, and its pools serve."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Final

import msgspec
import pytest

from rbln_supervisor.core.control.protocol import (
    DryRun,
    DryRunReply,
    ErrorReply,
    Reload,
    ReloadReply,
    Reply,
    Request,
    Rescan,
    RescanReply,
)
from rbln_supervisor.ctl.client import send_request
from rbln_worker.contract.pool import PoolName
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import demo
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    allocatable,
    config,
    pool,
    served,
    texts,
    untouched,
)

pytestmark = pytest.mark.system

HUNG: Final = "the discovery took more than 10 s and was ended"
NIC: Final = PoolName("intel.com/nic")
WITH_NICS: Final = config(
    ATOM_POOL, {"resourceName": "nic", "selectors": [{"drivers": ["ice"], "acpiIndexes": ["7"]}]}
)


@contextmanager
def asking(stack: Stack, *requests: Request) -> Iterator[list[Future[Reply]]]:
    """Each request by a client of its own, all at the same time."""
    with ThreadPoolExecutor(len(requests)) as threads:
        yield [threads.submit(send_request, stack.run_dir, one, timeout_s=40) for one in requests]


def quick_status(stack: Stack) -> None:
    began = monotonic()
    stack.status()
    assert monotonic() - began < 2.0


def test_a_node_that_hangs_from_the_start() -> None:
    def build(node: SimNode) -> None:
        demo(node)
        node.hang(ATOMS[0], "numa_node")

    with Stack(TWO_POOLS, build) as stack:
        status = stack.wait_status(lambda _: True, what="an answer")
        assert not status.supervisor.ready
        assert {one.reason for one in status.pools.values()} == {
            "the node has not been discovered yet"
        }
        stack.wait_status(
            lambda s: texts(s.supervisor.problems) == (HUNG,), deadline_s=20, what="the problem"
        )
        assert not stack.status().supervisor.ready
        stack.node.set_numa_node(ATOMS[0], 0)
        served(stack, deadline_s=20)  # nobody had to ask
        assert stack.status().supervisor.problems == ()


def test_a_look_that_hangs_holds_up_nobody() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.hang(ATOMS[0], "numa_node")
        with untouched(stack, ATOM, VM):
            with asking(stack, Rescan(), Rescan(), Reload(), Reload()) as answers:
                over = threading.Event()
                while not all(one.done() for one in answers):
                    quick_status(stack)
                    over.wait(0.1)
            replies = [one.result() for one in answers]
            for reply in replies[:2]:
                assert isinstance(reply, RescanReply)
                assert (reply.changed, texts(reply.problems)) == ((), (HUNG,))
            assert replies[2:] == [ErrorReply((HUNG,))] * 2
            assert HUNG in texts(stack.status().supervisor.problems)
            stack.node.set_numa_node(ATOMS[0], 0)
            assert send_request(stack.run_dir, Rescan()) == RescanReply(6)
        reloaded = send_request(stack.run_dir, Reload())
        assert isinstance(reloaded, ReloadReply)
        assert stack.status().supervisor.problems == ()


def test_who_waits_hears_that_the_supervisor_leaves() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.hang(ATOMS[0], "numa_node")
        with asking(stack, Rescan(), Reload()) as answers:
            stack.wait_status(lambda _: len(stack.processes()) == 4, what="a look")
            assert stack.stop(5).code == 0
        for one in answers:
            assert one.result() == ErrorReply(("the supervisor is stopping",))
        assert stack.processes() == ()


def with_a_nic(node: SimNode) -> None:
    demo(node)
    nic = SimDevice("0000:5e:00.0", "8086", "1592", "020000", "ice", acpi_index=7, net=("nic0",))
    node.add(nic, msgspec.structs.replace(nic, bdf="0000:5e:00.1", acpi_index=8))


def test_a_configuration_comes_with_the_look_that_it_needs() -> None:
    with Stack(config(ATOM_POOL), with_a_nic) as stack:
        served(stack, ATOM)
        with untouched(stack, ATOM):
            stack.write_config(WITH_NICS)
            reloaded = send_request(stack.run_dir, Reload())
            assert isinstance(reloaded, ReloadReply)
            assert reloaded.plan.pools_with("added") == (NIC,)
            # Answered when all of it is in force.
            assert stack.status().pools[NIC].devices.keys() == {"0000:5e:00.0"}
            allocatable(stack, NIC, 1)


def test_a_dry_run_looks_with_the_eyes_of_its_configuration() -> None:
    with Stack(config(ATOM_POOL), with_a_nic) as stack:
        served(stack, ATOM)
        with untouched(stack, ATOM):
            reply = send_request(stack.run_dir, DryRun(msgspec.json.encode(WITH_NICS)))
            assert isinstance(reply, DryRunReply)
            assert reply.plan is not None
            assert reply.plan.pools[NIC].devices == ("0000:5e:00.0",)
            assert NIC not in stack.status().pools
        assert send_request(stack.run_dir, Rescan()) == RescanReply(4 + 2)


def test_many_ask_at_once() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        requests: list[Request] = [Rescan(), Reload(), DryRun(msgspec.json.encode(TWO_POOLS))] * 8
        with untouched(stack, ATOM, VM), asking(stack, *requests) as answers:
            kinds = [type(one.result()) for one in answers]
        assert kinds == [RescanReply, ReloadReply, DryRunReply] * 8


def test_a_wrong_file_is_refused_without_a_look() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.hang(ATOMS[0], "numa_node")
        stack.write_config("[]")
        began = monotonic()
        assert isinstance(send_request(stack.run_dir, Reload()), ErrorReply)
        assert monotonic() - began < 5
        stack.write_config(config(pool("ATOM", drivers=["rebellions"])))
        stack.node.set_numa_node(ATOMS[0], 0)
        assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)
