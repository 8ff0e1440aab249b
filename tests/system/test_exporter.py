"""rbln-exporter beside the real processes: its numbers are right, and it never hangs."""

import json
import os
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.sim import processes
from tests.sim.exporter import Exporter, Scrape, command, exporting
from tests.sim.stack import REPOSITORY, Stack
from tests.sim.uevents import Injector, pci
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM,
    allocatable,
    eventually,
    pool_status,
    served,
)

pytestmark = pytest.mark.system


def scraped(exporter: Exporter, condition: Callable[[Scrape], object], *, what: str) -> Scrape:
    """The first scrape for which a condition holds; figures come with a beat."""
    found: list[Scrape] = []

    def holds() -> bool:
        found.append(exporter.scrape())
        return bool(condition(found[-1]))

    eventually(holds, what=what)
    return found[-1]


def has(count: int) -> Callable[[Scrape], bool]:
    return lambda scrape: ok(scrape) == count


def ok(scrape: Scrape, pool: str = ATOM) -> float | None:
    return scrape.value("rbln_rpcs_total", pool=pool, method="Allocate", code="OK")


def test_numbers_are_exact_while_allocations_run_and_a_worker_is_killed(tmp_path: Path) -> None:
    with Stack(TWO_POOLS) as stack, exporting(stack.run_dir, tmp_path) as exporter:
        served(stack)
        calls = {ATOM: 0, VM: 0}
        over = threading.Event()

        def call(name: str, device: str) -> None:
            while not over.is_set():
                stack.kubelet.allocate(name, [[device]])
                calls[name] += 1

        vms = threading.Thread(target=call, args=(VM, "0000:60:00.0"))
        vms.start()
        try:
            for _ in range(30):
                stack.kubelet.allocate(ATOM, [ATOMS[:2]])
                exporter.scrape()
            for _ in range(3):
                with pytest.raises(grpc.RpcError):
                    stack.kubelet.allocate(ATOM, [["0000:99:00.0"]])
            stack.kubelet.preferred(ATOM, ATOMS, [], 2)
            before = scraped(exporter, lambda s: ok(s) == 30, what="30 calls are counted")
            os.kill(stack.workers()[ATOM], signal.SIGKILL)
            pool_status(stack, ATOM, lambda seen: seen.worker.restarts, what="another life")
            served(stack)
            for _ in range(5):
                stack.kubelet.allocate(ATOM, [ATOMS[:1]])
        finally:
            over.set()
            vms.join()
        assert before.value("rbln_rpcs_total", pool=ATOM, code="INVALID_ARGUMENT") == 3
        assert before.value("rbln_allocated_devices_total", pool=ATOM) == 60
        assert before.total("rbln_worker_restarts_total") == 0

        after = scraped(
            exporter,
            lambda s: ok(s) == 35 and ok(s, VM) == calls[VM],
            what="calls of both lives, and of the pool that nothing happened to",
        )
        rpcs = "rbln_rpc_duration_seconds_count"
        assert after.value(rpcs, pool=ATOM, method="Allocate") == 38
        assert after.value(rpcs, pool=ATOM, method="GetPreferredAllocation") == 1
        assert after.value("rbln_rpcs_total", pool=ATOM, code="INVALID_ARGUMENT") == 3
        assert after.value("rbln_allocated_devices_total", pool=ATOM) == 65
        assert after.value("rbln_allocated_devices_total", pool=VM) == calls[VM]
        assert after.value("rbln_worker_restarts_total", pool=ATOM, cause="SIGKILL") == 1
        assert after.total("rbln_worker_restarts_total") == 1
        assert after.value("rbln_registrations_total", pool=ATOM) == 2
        assert after.value("rbln_registration_duration_seconds_count", pool=ATOM) == 2
        assert after.value("rbln_list_streams", pool=ATOM) == 1
        assert after.value("rbln_list_streams_opened_total", pool=ATOM) == 2
        assert after.value("rbln_registrations_total", pool=VM) == 1
        lost = "rbln_lost_allocatable_seconds_total"
        grown = after.total(lost, pool=ATOM) - before.total(lost, pool=ATOM)
        assert grown > 0
        assert after.total(lost, pool=VM) == before.total(lost, pool=VM)
        for process in ("supervisor", "worker", "exporter"):
            assert after.total("rbln_process_resident_memory_bytes", process=process) > 1e6
            assert after.total("rbln_process_open_fds", process=process) > 3


def test_devices_by_health_and_source(tmp_path: Path) -> None:
    with Stack(TWO_POOLS) as stack, exporting(stack.run_dir, tmp_path) as exporter:
        served(stack)
        stack.node.remove_dev_node("rbln1")
        allocatable(stack, ATOM, 3)
        fallen = {"pool": ATOM, "health": "Unhealthy", "source": "node"}
        ill = scraped(
            exporter, lambda s: s.value("rbln_devices", **fallen) == 1, what="one is unhealthy"
        )
        assert ill.total("rbln_devices", pool=ATOM) == len(ATOMS)
        assert ill.value("rbln_device_healthy", device=ATOMS[1]) == 0
        assert ill.total("rbln_device_healthy", pool=ATOM) == 3
        lost = {"pool": ATOM, "cause": "unhealthy", "source": "node"}
        first = ill.value("rbln_lost_allocatable_seconds_total", **lost)
        scraped(
            exporter,
            lambda s: (s.value("rbln_lost_allocatable_seconds_total", **lost) or 0) > (first or 0),
            what="what is lost grows",
        )
        stack.node.add_dev_node("rbln1")
        allocatable(stack, ATOM, 4)
        scraped(
            exporter,
            lambda s: s.total("rbln_devices", pool=ATOM, health="Healthy") == 4,
            what="all are back",
        )


def test_a_supervisor_that_dies_is_told_of_and_its_next_one_goes_on(tmp_path: Path) -> None:
    with Stack(TWO_POOLS) as stack, exporting(stack.run_dir, tmp_path) as exporter:
        served(stack)
        for _ in range(7):
            stack.kubelet.allocate(ATOM, [ATOMS[:1]])
        before = scraped(exporter, lambda s: ok(s) == 7, what="7 calls are counted")
        assert (exporter.get("/healthz").status, exporter.get("/readyz").status) == (200, 200)

        stack.kill()
        for path in ("/healthz", "/readyz"):
            answer = exporter.get(path)
            assert answer.status == 503
            assert "no process listens" in answer.body
        down = exporter.scrape()
        assert down.value("rbln_up") == 0
        assert down.total("rbln_devices") == 0
        stack.kubelet.allocate(ATOM, [ATOMS[:1]])  # served, and counted, without a supervisor

        stack.start()
        served(stack)
        after = scraped(
            exporter,
            lambda s: ok(s) == 8 and s.value("rbln_workers_adopted_total", pool=ATOM) == 1,
            what="the worker is adopted, and calls of before are still counted",
        )
        assert after.value("rbln_up") == 1
        assert after.total("rbln_worker_restarts_total") == 0
        eventually(lambda: exporter.get("/readyz").status == 200, what="ready again")
        # Counters of workers go on; the supervisor's begin again, from nothing.
        workers = (
            "rpc",
            "allocated",
            "list_",
            "registration",
            "health_check",
            "failed_",
            "greedy_",
        )
        for (name, labels), value in before.samples.items():
            is_counter = name.endswith(("_total", "_count", "_sum", "_bucket"))
            if is_counter and name.removeprefix("rbln_").startswith(workers):
                assert after.samples[name, labels] >= value, (name, labels)


def test_no_scrape_sees_a_workers_counter_fall(tmp_path: Path) -> None:
    with Stack(TWO_POOLS) as stack, exporting(stack.run_dir, tmp_path) as exporter:
        served(stack)
        seen: list[float] = []
        failures: list[BaseException] = []
        over = threading.Event()

        def watch() -> None:
            try:
                while not over.is_set():
                    value = ok(exporter.scrape())
                    if value is not None:  # absent while nobody knows
                        seen.append(value)
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            for wanted in (10, 20):
                for _ in range(10):
                    stack.kubelet.allocate(ATOM, [ATOMS[:1]])
                scraped(exporter, has(wanted), what="calls are counted")
                os.kill(stack.workers()[ATOM], signal.SIGKILL)
                pool_status(stack, ATOM, lambda one: one.worker.restarts == 1, what="it is buried")
                served(stack)
                stack.kill()
                stack.start()
                served(stack)
        finally:
            over.set()
            watching.join()
        assert not failures
        assert seen == sorted(seen)
        assert seen[-1] == 20


def test_a_supervisor_that_hangs_hangs_nobody(tmp_path: Path) -> None:
    with (
        Stack(TWO_POOLS) as stack,
        exporting(stack.run_dir, tmp_path) as exporter,
    ):
        served(stack)
        os.kill(stack.pid, signal.SIGSTOP)
        try:
            answers = [exporter.get(path) for path in ("/healthz", "/readyz", "/metrics")]
        finally:
            os.kill(stack.pid, signal.SIGCONT)
        assert [one.status for one in answers] == [503, 503, 200]
        assert "within 2 s" in answers[0].body
        assert Scrape(answers[2].body).value("rbln_up") == 0
        scraped(exporter, lambda s: s.value("rbln_up") == 1, what="it answers again")
        assert exporter.log.count("does not answer") == exporter.log.count("supervisor answers")


def test_not_ready_says_what_is_missing(tmp_path: Path) -> None:
    with (
        Stack(TWO_POOLS, late_kubelet=True) as stack,
        exporting(stack.run_dir, tmp_path) as exporter,
    ):
        stack.wait_status(
            lambda s: all(p.state == "waiting" and p.devices for p in s.pools.values()),
            what="pools that wait for a kubelet",
        )
        answer = exporter.get("/readyz")
        assert answer.status == 503
        assert [line.partition(": ")[0] for line in answer.body.splitlines()] == [
            f"{ATOM} is waiting",
            f"{VM} is waiting",
        ]
        assert exporter.get("/healthz").status == 200
        stack.kubelet.start()
        served(stack)
        eventually(lambda: exporter.get("/readyz").status == 200, what="ready")
        after = exporter.scrape()
        away = {"cause": "kubelet-away", "pool": ATOM}
        assert (after.value("rbln_lost_allocatable_seconds_total", **away) or 0) > 0


def test_the_kernels_word_has_a_latency(tmp_path: Path) -> None:
    with (
        Stack(TWO_POOLS, links={}) as stack,
        exporting(stack.run_dir, tmp_path, "--no-device-series") as exporter,
    ):
        served(stack)
        with Injector(stack.pid) as tell:
            stack.node.remove(ATOMS[0])
            tell(pci("remove", ATOMS[0]))
            allocatable(stack, ATOM, 3)
        # The worker tells the supervisor after the kubelet.
        eventually(
            lambda: exporter.scrape().value("rbln_event_latency_seconds_count", pool=ATOM) == 1,
            what="one latency",
        )
        seen = exporter.scrape()
        assert seen.value("rbln_kernel_events_total", kind="uevent") == 1
        assert seen.value("rbln_event_latency_seconds_count", pool=VM) == 0
        assert 0 < (seen.value("rbln_event_latency_seconds_sum", pool=ATOM) or 0) < 10
        assert not any("device" in dict(labels) for _, labels in seen.samples)


def test_thousands_of_scrapes_leak_nothing(tmp_path: Path) -> None:
    with Stack(TWO_POOLS) as stack, exporting(stack.run_dir, tmp_path) as exporter:
        served(stack)
        for _ in range(50):
            exporter.scrape()

        def open_fds() -> list[int]:
            homes = [Path(f"/proc/{pid}/fd") for pid in (exporter.pid, stack.pid)]
            return [len(list(home.iterdir())) for home in homes]

        before = open_fds()
        for number in range(2000):
            path = ("/healthz", "/metrics", "/none", "/readyz")[number % 4]
            assert exporter.get(path).status in {200, 404}
        # The last connections' ends may still be on their way.
        eventually(
            lambda: all(now <= then for now, then in zip(open_fds(), before, strict=True)),
            what=f"as many descriptors as before: {before}",
        )


HOSTILE = (
    b"\x00" * 100,
    b"GET /metrics",
    b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
)


def test_hostile_requests_and_silent_clients(tmp_path: Path) -> None:
    with Stack(TWO_POOLS) as stack, exporting(stack.run_dir, tmp_path) as exporter:
        served(stack)
        for request in HOSTILE:
            with socket.create_connection(("127.0.0.1", exporter.port), timeout=20) as client:
                try:
                    client.sendall(request)
                    client.shutdown(socket.SHUT_WR)
                    reply = client.recv(65536)
                except ConnectionError:
                    reply = b""
            assert b" 200 " not in reply.partition(b"\r\n")[0], request[:50]
        for accept in ("application/openmetrics-text", ",;=", "\xff" * 100, "*/*"):
            assert exporter.get("/metrics", accept).status == 200
        # Each has a thread, and is closed after 5 s without data.
        silent = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(40)]
        try:
            assert exporter.get("/healthz").status == 200
            for client in silent:
                client.settimeout(60)
                assert client.recv(1) == b""
        finally:
            for client in silent:
                client.close()


def test_how_it_starts_and_ends(tmp_path: Path) -> None:
    with exporting(tmp_path, tmp_path) as exporter:
        assert exporter.scrape().value("rbln_up") == 0
        assert exporter.stop() == 0
    for wrong in ("x", "127.0.0.1", "127.0.0.1:x", ":9", "::1:9420", "1.2.3.4:65536", ""):
        ended = run("--listen", wrong, run_dir=tmp_path)
        assert ended.returncode == 2, wrong
        assert "expected an address and a port" in ended.stderr


NEVER = [
    pytest.param("192.0.2.1:9420", "Cannot assign requested address", id="not ours"),
    pytest.param(
        "127.0.0.1:80",
        "Permission denied",
        id="not permitted",
        marks=pytest.mark.skipif(
            int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80,
            reason="anybody may listen on port 80 here",
        ),
    ),
]


@pytest.mark.parametrize(("listen", "reason"), NEVER)
@pytest.mark.parametrize("form", ["text", "json"])
def test_an_address_that_can_never_work(
    tmp_path: Path, listen: str, reason: str, form: str
) -> None:
    under = () if os.geteuid() else ("setpriv", "--bounding-set=-net_bind_service")
    ended = subprocess.run(
        (*under, *command(tmp_path, "--log-format", form, "--listen", listen)),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    host, _, port = listen.partition(":")
    message = json.loads(line)["message"] if form == "json" else line
    assert f"can't listen on {host} port {port} (" in message
    assert reason in message
    assert message.endswith("): give --listen another address")


WAITING = "WARNING exporter: the address is in use: waiting until it is free host=127.0.0.1 port="


@contextmanager
def waiting_exporter(home: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """An exporter that has found its port taken."""
    log = home / "waiting.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(home, "--listen", f"127.0.0.1:{port}"), cwd=REPOSITORY, stdout=file, stderr=file
        )
    try:
        eventually(lambda: WAITING in log.read_text(), what="it waits", deadline_s=20)
        yield process, log
    finally:
        process.kill()
        process.wait()


def test_a_port_in_use_is_waited_for_and_this_is_said_once(tmp_path: Path) -> None:
    with exporting(tmp_path, tmp_path) as earlier:
        port = earlier.port
        with waiting_exporter(tmp_path, port) as (process, log):
            status = Path(f"/proc/{process.pid}/status")

            def switches() -> int:
                _, _, rest = status.read_text().partition("\nvoluntary_ctxt_switches:")
                return int(rest.split()[0])

            before = switches()
            eventually(lambda: switches() > before + 2, what="it tries again and again")
            assert process.poll() is None
            assert earlier.stop() == 0
            eventually(
                lambda: f"serving host=127.0.0.1 port={port}" in log.read_text(), what="it serves"
            )
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                assert answer.status == 200
            process.terminate()
            assert process.wait(10) == 0
            assert log.read_text().count(WAITING) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_while_it_waits_for_its_port(tmp_path: Path, number: signal.Signals) -> None:
    with exporting(tmp_path, tmp_path) as earlier:
        with waiting_exporter(tmp_path, earlier.port) as (process, log):
            process.send_signal(number)
            assert process.wait(10) == 0
            assert log.read_text().splitlines()[-1].endswith(f"exporter: leaving why={number.name}")
        assert earlier.scrape().value("rbln_up") == 0


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_every_address_of_both_families(tmp_path: Path) -> None:
    with exporting(tmp_path, tmp_path, "--listen", "[::]:0") as exporter:
        assert exporter.get("/nothing").status == 404  # by IPv4
        with socket.create_connection(("::1", exporter.port), timeout=10) as client:
            client.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
            assert b" 404 " in client.recv(100)


def run(*arguments: str, run_dir: Path) -> subprocess.CompletedProcess[str]:
    """An exporter that is going to end by itself."""
    return subprocess.run(
        command(run_dir, *arguments),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_its_processes_are_no_workers_of_the_stack(tmp_path: Path) -> None:
    """It is nobody's child that matters: it ends, and the pools notice nothing."""
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with exporting(stack.run_dir, tmp_path) as exporter:
            exporter.scrape()
            before = stack.processes()
            os.kill(exporter.pid, signal.SIGKILL)
            assert processes.has_ended(exporter.pid, 5.0)
        assert stack.processes() == before
        assert stack.status().supervisor.ready
