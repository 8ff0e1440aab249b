"""Whatever comes to the sockets of the run directory stops nobody."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import zmq

from rbln_supervisor.core.status import CounterName
from rbln_worker.contract.messages import (
    Heartbeat,
    Hello,
    Phase,
    Report,
    encode_message,
)
from rbln_worker.contract.pool import PoolName
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOMS, TWO_POOLS, VM, allocatable, served, untouched

pytestmark = pytest.mark.system

SOCKETS = ["workers.sock", "control.sock"]

GARBAGE = (
    b"",
    b"\0",
    b"\xff" * 1000,
    b"{",
    b"[" * 60_000,
    b"\x91" * 60_000,
    b'{"type":"status"',
    b'{"type":"stop"}',
    b'{"type":7}',
    b'\xff{"type":"status"}',
    msgspec.msgpack.encode(None),
    msgspec.msgpack.encode({"type": "hello"}),
    msgspec.msgpack.encode({"type": "hello", "pool": 7, "pid": "x", "incarnation": []}),
    msgspec.msgpack.encode({"type": "report", "phase": "dancing"}),
    msgspec.msgpack.encode({"type": "beat", "generation": -(2**63)})[:-1],
    msgspec.msgpack.encode({"type": "snapshot"}),
    msgspec.msgpack.encode([1, 2, 3]),
    os.urandom(4096),
)


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        yield stack


def send(path: Path, *messages: list[bytes]) -> None:
    """Send messages of any frames as a peer of its own, and see to it that they are out."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 10_000
        dealer.connect(f"ipc://{path}")
        for message in messages:
            dealer.send_multipart(message)


def counted(stack: Stack, name: CounterName, count: int) -> None:
    stack.wait_status(lambda s: s.supervisor.counters.get(name, 0) >= count, what=f"{count} {name}")


def answers(stack: Stack) -> None:
    """The supervisor and every worker still do what they are for."""
    done = stack.ctl("rescan")
    assert (done.returncode, done.stderr) == (0, "")
    assert stack.ctl("status").returncode == 0
    stack.node.remove_dev_node("rbln0")
    allocatable(stack, ATOM, len(ATOMS) - 1)


@pytest.mark.parametrize("name", SOCKETS)
def test_garbage_is_counted_and_dropped(stack: Stack, name: str) -> None:
    what = {
        "workers.sock": CounterName.WORKER_FRAMES_UNREADABLE,
        "control.sock": CounterName.CONTROL_FRAMES_UNREADABLE,
    }
    with untouched(stack, ATOM, VM):
        send(stack.run_dir / name, *([frame] for frame in GARBAGE), [b"a", b"", b"many"])
        counted(stack, what[name], len(GARBAGE))
    answers(stack)


def test_messages_of_nobodys_worker_are_counted_and_dropped(stack: Stack) -> None:
    forged = (
        Hello(pool=PoolName(ATOM), pid=1, incarnation="", version="0"),
        Hello(pool=PoolName(ATOM), pid=1, incarnation="0123456789abcdef", version="99"),
        Report(Phase.REGISTERED, endpoint="../../x", registration="by hand"),
        Heartbeat(session="nobody's", generation=2**63),
    )
    with untouched(stack, ATOM, VM):
        send(stack.run_dir / "workers.sock", *([encode_message(message)] for message in forged))
        counted(stack, CounterName.WORKER_FRAMES_UNKNOWN, len(forged))
    answers(stack)


def test_nobody_is_the_worker_of_a_pool_that_has_none() -> None:
    """A hello without an incarnation is not that of a worker that doesn't live."""
    with Stack(TWO_POOLS, lambda _: None) as stack:
        stack.wait_status(lambda s: len(s.pools) == 2, what="two pools without devices")
        forged = (
            Hello(pool=PoolName(ATOM), pid=1, incarnation="", version="0"),
            Report(Phase.REGISTERED, endpoint="x", registration="kubelet-sock"),
        )
        send(stack.run_dir / "workers.sock", *([encode_message(message)] for message in forged))
        counted(stack, CounterName.WORKER_FRAMES_UNKNOWN, len(forged))
        seen = stack.status().pools[ATOM]
        assert (seen.state, seen.endpoint) == ("waiting", None)


@pytest.mark.parametrize("name", SOCKETS)
def test_an_oversized_frame_ends_its_senders_connection(stack: Stack, name: str) -> None:
    with (
        untouched(stack, ATOM, VM),
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.linger = 0
        dealer.connect(f"ipc://{stack.run_dir / name}")
        with closing(dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)) as monitor:
            dealer.send(bytes(100 * 1024 * 1024))
            assert monitor.poll(30_000), "the connection lasts"
            dealer.disable_monitor()
    answers(stack)


def raw(path: Path, payload: bytes) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(10)
        client.connect(str(path))
        try:
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except (BrokenPipeError, ConnectionResetError):
            return  # it has heard enough


RAW = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    b"\xff" * 10,
    b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + bytes(48) + b"\xff" * 4096,
    b"",
    # ZMTP 1.0, as libzmq takes everything that is no greeting: an identity, and a frame of it.
    b"\x04\0who\x03\0hi",
    b"\x01\0" + b"\x12\0" + b'{"type":"status"}',
    os.urandom(1024 * 1024),
)


@pytest.mark.parametrize("name", SOCKETS)
def test_what_is_no_zeromq_at_all(stack: Stack, name: str) -> None:
    with untouched(stack, ATOM, VM):
        for payload in RAW:
            raw(stack.run_dir / name, payload)
        assert stack.ctl("status").returncode == 0
    answers(stack)


@pytest.mark.parametrize("name", SOCKETS)
def test_a_flood_keeps_nobody_waiting(stack: Stack, name: str) -> None:
    with untouched(stack, ATOM, VM):
        send(stack.run_dir / name, *([b"flood"] for _ in range(20_000)))
        assert stack.ctl("status", deadline_s=20.0).returncode == 0
    answers(stack)


def test_a_client_that_asks_and_never_reads(stack: Stack) -> None:
    with (
        untouched(stack, ATOM, VM),
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.linger = 0
        dealer.rcvhwm = 1
        dealer.connect(f"ipc://{stack.run_dir / 'control.sock'}")
        for _ in range(5000):
            dealer.send(b'{"type":"status"}')
        counted(stack, CounterName.REPLIES_UNDELIVERED, 1)
    answers(stack)


def test_many_connections_that_say_nothing(stack: Stack) -> None:
    clients = []
    with untouched(stack, ATOM, VM):
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(stack.run_dir / "control.sock"))
            clients.append(client)
        assert stack.ctl("status").returncode == 0
    for client in clients:
        client.close()
    answers(stack)
