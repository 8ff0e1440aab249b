"""What a worker says to a supervisor that did not fork it, and what such a one believes.

The test takes the supervisor's place on the workers' socket: it hears real hellos, and says them
again to a real supervisor while the worker that they are of is stopped.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import msgspec
import pytest
import zmq

from rbln_supervisor.core.status import CounterName
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.messages import (
    Hello,
    StateReport,
    StateRequest,
    ToSupervisor,
    encode_message,
    to_supervisor,
)
from rbln_worker.contract.pool import PoolSpec
from tests.sim import processes
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM,
    VMS,
    allocatable,
    eventually,
    served,
    streams,
    untouched,
)

pytestmark = pytest.mark.system

WITHIN_S = 10.0


class Ear:
    """The supervisor's end of the workers' socket, with nobody behind it."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def hear(self, condition: Callable[[bytes, ToSupervisor], bool]) -> tuple[bytes, ToSupervisor]:
        """The first message of which a condition holds, and who said it."""
        end = monotonic() + WITHIN_S
        while (left := end - monotonic()) > 0:
            if self._socket.poll(int(1000 * left)):
                sender, frame = self._socket.recv_multipart()
                said = to_supervisor(frame)
                if condition(sender, said):
                    return sender, said
        raise AssertionError("nobody said it")

    def hello(self, pool: str) -> tuple[bytes, Hello]:
        """A pool's worker's."""
        sender, said = self.hear(lambda _, m: isinstance(m, Hello) and m.pool == pool)
        assert isinstance(said, Hello)
        return sender, said

    def say(self, receiver: bytes, frame: bytes) -> None:
        self._socket.send_multipart([receiver, frame])


@contextmanager
def ear(stack: Stack) -> Iterator[Ear]:
    """Listen in the place of a supervisor that is dead."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        socket.bind(f"ipc://{stack.run_dir / 'workers.sock'}")
        yield Ear(socket)


def hello_of(stack: Stack, pool: str) -> Hello:
    """What a pool's living worker says to the next supervisor."""
    with ear(stack) as listening:
        return listening.hello(pool)[1]


@contextmanager
def mouth(stack: Stack) -> Iterator[Callable[[ToSupervisor | bytes], None]]:
    """Speak to a living supervisor as a worker would."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 1000
        socket.connect(f"ipc://{stack.run_dir / 'workers.sock'}")
        yield lambda said: socket.send(said if isinstance(said, bytes) else encode_message(said))


GARBAGE = (
    b"",
    b"\xff" * 1000,
    b"\x91" * 60_000,
    encode_message(StateRequest())[:-1],
    msgspec.msgpack.encode({"type": "holds", "devices": [7]}),
)


# A worker


def test_a_worker_says_what_it_holds_to_whoever_asks_whatever_else_he_says() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM, VM):
            stack.kill()
            with ear(stack) as listening:
                worker, hello = listening.hello(ATOM)
                assert (hello.pool, hello.generation) == (ATOM, 1)
                assert hello.session
                assert hello.options
                for frame in GARBAGE:
                    listening.say(worker, frame)
                for _ in range(5):
                    listening.say(worker, encode_message(StateRequest()))
                    _, said = listening.hear(
                        lambda who, m: who == worker and isinstance(m, StateReport)
                    )
                    assert isinstance(said, StateReport)
                    assert said.pool is not None
                    assert said.pool.name == ATOM
                    assert [device.id for device in said.devices] == list(ATOMS)
            stack.start()
            stack.wait_status(lambda s: s.supervisor.ready, what="a supervisor that adopts them")


def test_a_device_that_dies_without_a_supervisor_is_unhealthy_and_refused() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kill()
        stack.node.remove_dev_node("rbln0")
        allocatable(stack, ATOM, len(ATOMS) - 1)
        stack.start()
        status = stack.wait_status(lambda s: s.supervisor.ready, what="the next supervisor")
        seen = status.pools[ATOM].devices[ATOMS[0]]
        assert (seen.health, "rbln0" in seen.reason) == ("Unhealthy", True)


def test_a_kubelet_that_restarts_without_a_supervisor_is_told_to_the_next_one() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        stack.kill()
        stack.kubelet.restart()
        for name, ids in ((ATOM, ATOMS), (VM, VMS)):
            allocatable(stack, name, len(ids))
        stack.start()
        status = stack.wait_status(lambda s: s.supervisor.ready, what="the next supervisor")
        assert stack.workers() == workers
        for name, seen in status.pools.items():
            assert seen.endpoint in streams(stack, name)


# A supervisor


def test_only_the_locks_holder_is_believed() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            stack.kill()
            hello = hello_of(stack, ATOM)
            worker = hello.pid
            os.kill(worker, signal.SIGSTOP)
            stack.start()
            with mouth(stack) as say:
                others = [
                    msgspec.structs.replace(hello, pid=os.getpid()),
                    msgspec.structs.replace(hello, incarnation="0" * 16),
                    msgspec.structs.replace(hello, incarnation=""),
                    msgspec.structs.replace(hello, pool=VM),
                    msgspec.structs.replace(hello, pool="x.io/none"),
                ]
                for other in others:
                    say(other)
                say(StateReport(PoolSpec("rebellions.ai", "ATOM", "accelerator")))
                stack.wait_status(
                    lambda s: (
                        s.supervisor.counters.get(CounterName.WORKER_FRAMES_UNKNOWN, 0)
                        == len(others) + 1
                    ),
                    what="all of them are nobody's",
                )
            status = stack.status()
            assert (status.pools[ATOM].state, status.pools[ATOM].devices) == ("starting", {})
            os.kill(worker, signal.SIGCONT)
            status = stack.wait_status(lambda s: s.supervisor.ready, what="the real one's hello")
            assert status.pools[ATOM].worker.pid == worker


def test_a_worker_of_another_version_is_replaced() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            stack.kill()
            hello = hello_of(stack, ATOM)
            os.kill(hello.pid, signal.SIGSTOP)
            stack.start()
            with mouth(stack) as say:
                say(msgspec.structs.replace(hello, version="0.0.9"))
                eventually(
                    lambda: "why=it is of version 0.0.9, this is" in stack.log, what="it is told"
                )
            status = served(stack)  # it does not leave when asked, and is killed
            assert status.pools[ATOM].worker.pid != hello.pid
        assert not processes.survivors([hello.pid], 5.0)


UNKNOWN = Device(
    DeviceId("0000:ff:00.0"), PciFunction(Bdf("0000:ff:00.0"), "1eff", "1", 0x12, "x", None)
)


@pytest.mark.parametrize(
    "answer",
    [
        StateReport(PoolSpec("rebellions.ai", "VM", "accelerator"), (UNKNOWN,)),
        msgspec.msgpack.encode({"type": "holds", "pool": 7}),
        msgspec.msgpack.encode({"type": "holds", "devices": [{"id": "x"}]}),
        encode_message(StateReport(None, (UNKNOWN,)))[:-1],
        os.urandom(4096),
    ],
    ids=["another pool's", "no pool", "no device", "truncated", "noise"],
)
def test_an_answer_that_is_none_is_not_taken(answer: StateReport | bytes) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            stack.kill()
            hello = hello_of(stack, ATOM)
            os.kill(hello.pid, signal.SIGSTOP)
            stack.start()
            with mouth(stack) as say:
                say(hello)
                say(answer)
                stack.wait_status(lambda s: s.pools[VM].state == "serving", what="VM is adopted")
            assert not stack.status().supervisor.ready
            os.kill(hello.pid, signal.SIGCONT)
            status = stack.wait_status(lambda s: s.supervisor.ready, what="the real answer")
            assert status.pools[ATOM].worker.pid == hello.pid
            assert set(status.pools[ATOM].devices) == set(ATOMS)


@pytest.mark.parametrize("device_type", ["accelerator", "netDevice", "nothing we know"])
def test_what_it_holds_is_only_where_the_pool_goes_on_from(device_type: str) -> None:
    """A type or devices that don't exist: the discovery and the file say what is."""
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            stack.kill()
            hello = hello_of(stack, ATOM)
            os.kill(hello.pid, signal.SIGSTOP)
            stack.start()
            with mouth(stack) as say:
                say(hello)
                say(StateReport(PoolSpec("rebellions.ai", "ATOM", device_type), (UNKNOWN,)))
                listed = {*ATOMS, UNKNOWN.id} if device_type == "accelerator" else set(ATOMS)
                stack.wait_status(
                    lambda s: set(s.pools[ATOM].devices) == listed, what="what the node has"
                )
                os.kill(hello.pid, signal.SIGCONT)
            stack.wait_status(lambda s: s.supervisor.ready, what="its own state again")
            assert stack.workers()[ATOM] == hello.pid
