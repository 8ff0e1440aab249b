"""The supervisor tells a service manager how it is: real datagrams to a real socket."""

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from rbln_supervisor.core.control.protocol import Rescan, RescanReply
from rbln_supervisor.ctl.client import send_request
from tests.sim import processes
from tests.sim.kubelet import kubelet_1_37
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOMS, TWO_POOLS, VM, config, served

pytestmark = pytest.mark.system


class Listener:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.settimeout(0)
        self.heard: list[tuple[int, list[str]]] = []
        """Whose notice (a pid), and its lines."""

    def close(self) -> None:
        self._socket.close()

    def wait(
        self, condition: Callable[[list[str]], object], what: str, deadline_s: float = 15.0
    ) -> list[str]:
        """The lines of the first notice from now on that is meant."""
        end = monotonic() + deadline_s
        while True:
            left_s = end - monotonic()
            assert left_s > 0, f"not within {deadline_s} s: {what}\n{self.heard}"
            if not select.select([self._socket], [], [], left_s)[0]:
                continue
            text, extra, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            (pid,) = (int.from_bytes(data[:4], "little") for _, _, data in extra)
            lines = text.decode().split("\n")
            self.heard.append((pid, lines))
            if condition(lines):
                return lines


@pytest.fixture(params=["path", "abstract"])
def listener(
    request: pytest.FixtureRequest, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Listener]:
    name = str(short_path / "notify")
    address = name if request.param == "path" else f"@{name}"
    listener = Listener(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    yield listener
    listener.close()


def says(*lines: str) -> Callable[[list[str]], bool]:
    return lambda heard: set(lines) <= set(heard)


SERVED = "STATUS=2 of 2 pools serve 6 of 6 devices"


def test_a_start_a_reload_and_a_stop(listener: Listener) -> None:
    with Stack(TWO_POOLS) as stack:
        listener.wait(says("READY=1", SERVED), "it serves, and says so as soon as it does")
        served(stack)

        stack.write_config(config(TWO_POOLS["resourceList"][0]))  # type: ignore[index]
        before = monotonic()
        os.kill(stack.pid, signal.SIGHUP)
        begun = listener.wait(lambda lines: "RELOADING=1" in lines, "a reload began")
        stamps = [int(x.split("=")[1]) for x in begun if x.startswith("MONOTONIC_USEC=")]
        assert len(stamps) == 1
        assert before <= stamps[0] / 1e6 <= monotonic()
        listener.wait(says("READY=1"), "it is over")

        stack.write_config("{")
        os.kill(stack.pid, signal.SIGHUP)
        listener.wait(lambda lines: "RELOADING=1" in lines, "one that is refused is one, too")
        listener.wait(says("READY=1"), "it is over at once")

        assert stack.stop().code == 0
        listener.wait(lambda lines: "STOPPING=1" in lines, "it leaves")
        assert {pid for pid, _ in listener.heard} == {listener.heard[0][0]}, "only one speaks"
        assert not [lines for _, lines in listener.heard if "WATCHDOG=1" in lines], "nobody asked"


def test_no_process_that_it_starts_knows_of_it(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    with Stack(TWO_POOLS) as stack:
        listener.wait(says("READY=1"), "it serves")
        workers = set(stack.workers().values())
        os.kill(stack.pid, signal.SIGHUP)  # has a scout look at the node
        listener.wait(lambda lines: "RELOADING=1" in lines, "a reload")
        listener.wait(says("READY=1"), "it is over")
        assert stack.stop().code == 0
        listener.wait(lambda lines: "STOPPING=1" in lines, "it leaves")
        assert not {pid for pid, _ in listener.heard} & workers


def test_a_kubelet_that_is_away_keeps_nobody_waiting(listener: Listener) -> None:
    with Stack(TWO_POOLS, late_kubelet=True) as stack:
        ready = listener.wait(lambda lines: "READY=1" in lines, "the start is over")
        (status,) = (line for line in ready if line.startswith("STATUS="))
        assert status.startswith(f"STATUS=0 of 2 pools serve 0 of 0 devices; {ATOM} waiting (")
        stack.kubelet.start()
        listener.wait(says(SERVED), "what is served is told a little later")


def test_a_driver_that_is_loaded_late_is_waited_for_where_a_pod_has_its_device(
    listener: Listener,
) -> None:
    """At a boot the kubelet is started behind READY, and fails pods whose devices are missing."""
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, ATOMS[:1])
        stack.stop()
        stack.kubelet.stop()
        listener.wait(lambda lines: "STOPPING=1" in lines, "it leaves")
        for bdf in ATOMS[:2]:
            stack.node.unbind(bdf)
        begun = len(listener.heard)
        stack.start()
        listener.wait(
            lambda lines: lines[-1].count(" waiting (nobody answers") == 2,
            "nothing but the pod's device is missing",
        )
        assert not [lines for _, lines in listener.heard[begun:] if "READY=1" in lines]
        stack.node.bind(ATOMS[0], "rebellions")
        assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
        listener.wait(lambda lines: "READY=1" in lines, "the other device is nobody's")


def test_the_next_supervisor_is_ready_when_it_has_adopted(listener: Listener) -> None:
    with Stack(TWO_POOLS) as stack:
        listener.wait(says("READY=1"), "it serves")
        served(stack)
        workers = stack.workers()
        stack.kill()
        stack.start()
        listener.wait(says("READY=1", SERVED), "the next one serves")
        assert stack.workers() == workers
        assert workers.keys() == {ATOM, VM}


# The watchdog


def test_signs_of_life_come_from_the_loop_alone(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    with Stack(TWO_POOLS) as stack:
        listener.wait(says("READY=1"), "it serves")
        for _ in range(3):
            listener.wait(says("WATCHDOG=1"), "a sign of life")
        os.kill(stack.pid, signal.SIGSTOP)  # as if it hung
        while select.select([listener._socket], [], [], 1.0)[0]:
            listener._socket.recv(4096)  # said before
        os.kill(stack.pid, signal.SIGCONT)
        listener.wait(says("WATCHDOG=1"), "it goes on")


def test_one_that_the_watchdog_ends_says_where_it_hung_and_its_workers_live(
    listener: Listener,
) -> None:
    with Stack(TWO_POOLS) as stack:
        listener.wait(says("READY=1"), "it serves")
        served(stack)
        workers = stack.workers()
        os.kill(stack.pid, signal.SIGABRT)  # systemd's WatchdogSignal
        assert stack.wait_exit() == -signal.SIGABRT
        assert "Fatal Python error: Aborted" in stack.log
        assert "rbln_supervisor/supervisor.py" in stack.log.partition("Aborted")[2]
        assert all(pid in processes.marked(str(stack.run_dir)) for pid in workers.values())
        stack.start()
        listener.wait(says("READY=1", SERVED), "the next one serves")
        assert stack.workers() == workers
