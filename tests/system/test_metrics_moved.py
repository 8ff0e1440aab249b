"""Every metric is moved by what it counts, on a real system, as a real exporter is scraped."""

import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final, NamedTuple, get_args

import grpc
import pytest
import zmq

from rbln_supervisor.core.reporting.unavailability import Cause
from rbln_supervisor.exporter.catalog import CATALOG, Entry
from rbln_worker.contract.version import VERSION
from tests.sim import network
from tests.sim.exporter import Exporter, Scrape, exporting
from tests.sim.stack import Stack
from tests.sim.uevents import Injector, frame, pci
from tests.system import faults_around as around
from tests.system import faults_within as within
from tests.system.dra_stack import DraStack
from tests.system.fault import stopped, two_pools
from tests.system.scene import ATOM, ATOM_POOL, ATOMS, TWO_POOLS, VM, VM_POOL, eventually, served

pytestmark = pytest.mark.system

ELSEWHERE: Final = {
    "rbln_greedy_preferences_total": "tests/unit/test_preferences.py: a pool of thousands",
    "rbln_failed_preferences_total": "tests/unit/test_preferences.py: an error of our own",
    "rbln_claims": "tests/e2e/alerts: a panel shows it",
}
OF_DRA: Final = ("rbln_slices", "rbln_slice_writes_total", "rbln_api_errors_total")


class Moved(NamedTuple):
    """What moves a metric, and to where."""

    name: str
    arrange: Callable[[Stack], object]
    labels: Mapping[str, str] = {}
    falls: bool = False
    system: Callable[[], Stack] = two_pools
    held: Callable[[Stack], AbstractContextManager[object]] = nullcontext


_FLOOD: Final = 40_000
"""Events, of which the largest buffer that anybody may have holds some thousand."""


def in_a_namespace() -> Stack:
    network.needs("true")
    return Stack(TWO_POOLS, arguments=("--rescan-interval", "3600"), links={})


def flood(stack: Stack) -> None:
    with Injector(stack.pid) as tell, stopped(stack):
        tell(*[frame("add", "/devices/virtual/tty/nothing", "tty")] * _FLOOD)


def garbage(stack: Stack) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 10_000
        dealer.connect(f"ipc://{stack.run_dir}/control.sock")
        dealer.send(b"garbage")


@contextmanager
def hanging_status(stack: Stack) -> Iterator[None]:
    stack.node.hang_status("rbln0")
    yield
    stack.node.answer_status("rbln0", 0)


@contextmanager
def hanging_worker(stack: Stack) -> Iterator[None]:
    os.kill(stack.workers()[ATOM], signal.SIGSTOP)
    yield  # it is killed, whether it hears that or not


def wrong_allocation(stack: Stack) -> None:
    with pytest.raises(grpc.RpcError):
        stack.kubelet.allocate(ATOM, [["0000:99:00.0"]])


def refusing_kubelet(stack: Stack) -> None:
    stack.kubelet.knobs.refusal = "not today"
    stack.kubelet.restart()


def kubelet_that_never_dials(stack: Stack) -> None:
    stack.kubelet.knobs.dials = False
    stack.kubelet.restart()


def unplugged(stack: Stack) -> None:
    with Injector(stack.pid) as tell:
        stack.node.remove(ATOMS[0])
        tell(pci("remove", ATOMS[0]))


def adopted(stack: Stack) -> None:
    stack.kill()
    stack.start()


def restarted_kubelet(stack: Stack) -> None:
    stack.kubelet.restart()


def missing_node(stack: Stack) -> None:
    stack.node.remove_dev_node("rbln1")


def rescanned(stack: Stack) -> None:
    stack.ctl("rescan")


def nothing(_: Stack) -> None: ...


def removed_spec(stack: Stack) -> None:
    (stack.root / "var/run/cdi/sriov-dp-rebellions.ai-net-accel-ATOM.yaml").unlink()


LOST: Final = "rbln_lost_allocatable_seconds_total"
RELOADS: Final = "rbln_reloads_total"
POOL: Final = {"pool": ATOM}

IN_TURN: Final = (
    Moved(
        "rbln_rpc_duration_seconds",
        lambda s: s.kubelet.preferred(ATOM, ATOMS, [], 2),
        {**POOL, "method": "GetPreferredAllocation"},
    ),
    Moved("rbln_allocated_devices_total", lambda s: s.kubelet.allocate(ATOM, [ATOMS[:2]]), POOL),
    Moved("rbln_rpcs_total", wrong_allocation, {**POOL, "code": "INVALID_ARGUMENT"}),
    Moved(
        "rbln_device_pod_info",
        lambda s: s.kubelet.running.admit("train", ATOM, ATOMS[:1]),
        {**POOL, "device": ATOMS[0], "namespace": "ml", "pod": "train", "container": "main"},
    ),
    Moved("rbln_health_check_duration_seconds", rescanned, POOL),
    Moved("rbln_discovery_duration_seconds", rescanned),
    Moved("rbln_discovery_cpu_seconds_total", rescanned),
    Moved("rbln_list_streams_opened_total", restarted_kubelet, POOL),
    Moved("rbln_registration_duration_seconds", restarted_kubelet, POOL),
    Moved("rbln_kubelet_restarts_total", restarted_kubelet),
    Moved(
        "rbln_devices_warned",
        within.discovered(lambda n: n.set_attribute(ATOMS[2], "current_link_width", "8\n")),
        POOL,
    ),
    Moved(
        "rbln_devices",
        lambda s: s.node.set_status("rbln2", 3),
        {**POOL, "health": "Unhealthy", "phase": "unhealthy", "source": "npu-status"},
    ),
    Moved("rbln_device_healthy", missing_node, {"device": ATOMS[1]}, falls=True),
    Moved("rbln_list_messages_total", missing_node, POOL),
    Moved(LOST, missing_node, {**POOL, "cause": "unhealthy", "source": "node"}),
    Moved(RELOADS, within.reloaded(ATOM_POOL, VM_POOL), {"outcome": "ok"}),
    Moved(RELOADS, within.bad_reload, {"outcome": "refused"}),
    Moved("rbln_config_refused", within.bad_reload),
    Moved("rbln_dropped_frames_total", garbage, {"kind": "control-frames-unreadable"}),
)
"""Acts that leave a system on which the next one can be tried."""

ALONE: Final = (
    Moved("rbln_up", Stack.kill, falls=True),
    Moved("rbln_supervisor_ready", around.no_kubelet_socket, falls=True),
    Moved("rbln_problems", within.in_the_way, {"code": "socket-unavailable"}),
    Moved("rbln_pool_state", around.no_kubelet_socket, {**POOL, "state": "waiting"}),
    Moved(
        "rbln_pool_problems",
        within.blocked_spec,
        {**POOL, "code": "cdi-spec-not-written"},
        system=around.with_cdi,
    ),
    # Time that was lost, by cause
    Moved(LOST, within.no_worker_can_start, {**POOL, "cause": "worker-down"}),
    Moved(LOST, around.no_kubelet_socket, {**POOL, "cause": "kubelet-away"}),
    Moved(LOST, kubelet_that_never_dials, {**POOL, "cause": "unregistered"}),
    # Registrations
    Moved("rbln_list_streams", around.deaf_kubelet, POOL, falls=True),
    Moved("rbln_registrations_total", within.kill_worker, POOL),
    Moved("rbln_registration_failures_total", refusing_kubelet, POOL),
    # Workers
    Moved("rbln_worker_restarts_total", within.kill_worker, {**POOL, "cause": "SIGKILL"}),
    Moved(
        "rbln_worker_restarts_total",
        nothing,
        {**POOL, "cause": "hang"},
        held=hanging_worker,
    ),
    Moved("rbln_worker_restarts_total", within.no_worker_can_start, {**POOL, "cause": "exit-70"}),
    Moved("rbln_workers_adopted_total", adopted, POOL),
    Moved("rbln_health_checks_hung_total", nothing, POOL, held=hanging_status),
    Moved("rbln_health_checks_hanging", nothing, POOL, held=hanging_status),
    Moved("rbln_failed_writes_total", within.blocked_spec, POOL, system=around.with_cdi),
    Moved("rbln_restored_specs_total", removed_spec, POOL, system=around.with_cdi),
    # The node
    Moved("rbln_event_latency_seconds", unplugged, POOL, system=in_a_namespace),
    Moved("rbln_kernel_events_total", unplugged, {"kind": "uevent"}, system=in_a_namespace),
    Moved(
        "rbln_kernel_events_lost_total",
        flood,
        {"kind": "uevent"},
        system=in_a_namespace,
    ),
    Moved(
        "rbln_discovery_failures_total",
        within.discovered(lambda node: node.tree.remove("/sys/bus/pci/devices")),
    ),
)
"""Acts that need a system of their own."""

MOVED: Final = (*IN_TURN, *ALONE)

FACTS: Final[Mapping[str, Mapping[str, str]]] = {
    "rbln_supervisor_info": {"version": VERSION},
    "rbln_supervisor_uptime_seconds": {},
    "rbln_pod_source_info": {"source": "pod-resources"},
    **{
        entry.name: {"process": "worker", "pool": ATOM}
        for entry in CATALOG
        if entry.name.startswith("rbln_process_")
    },
}
"""What is so without anything that happens: above 0."""


def test_every_metric_has_what_moves_it() -> None:
    known = [*dict.fromkeys(one.name for one in MOVED), *FACTS, *ELSEWHERE, *OF_DRA]
    assert sorted(known) == sorted(entry.name for entry in CATALOG)
    causes = {one.labels["cause"] for one in MOVED if one.name == LOST}
    assert causes == set(get_args(Cause))


def test_metrics_of_a_dra_pool_move(tmp_path: Path) -> None:
    with DraStack() as stack, exporting(stack.run_dir, tmp_path) as exporter:

        def total(name: str) -> float:
            return exporter.scrape().total(name, pool=ATOM)

        eventually(lambda: total("rbln_slices") == 1, what="a slice is counted")
        before = total("rbln_slice_writes_total")
        stack.wipe_slices()
        eventually(lambda: total("rbln_slice_writes_total") > before, what="it is written again")
        assert total("rbln_api_errors_total") == 0
        stack.api.stop()
        eventually(lambda: total("rbln_api_errors_total") > 0, what="a call that failed")


def read(scrape: Scrape, one: Moved) -> float:
    """A histogram is moved where its count is."""
    (entry,) = (entry for entry in CATALOG if entry.name == one.name)
    return scrape.total(f"{one.name}{_end(entry)}", **one.labels)


def _end(entry: Entry) -> str:
    return "_count" if entry.kind == "histogram" else ""


def acts(metrics: Sequence[Moved]) -> list[tuple[Moved, ...]]:
    """The metrics that one act on one system moves, for each act."""
    groups: defaultdict[object, list[Moved]] = defaultdict(list)
    for one in metrics:
        groups[one.system, one.arrange, one.held].append(one)
    return [*map(tuple, groups.values())]


@pytest.mark.parametrize(
    "scene",
    [acts(IN_TURN), *([act] for act in acts(ALONE))],
    ids=lambda scene: "-".join([scene[0][0].name, *scene[0][0].labels.values()]),
)
def test_they_move(scene: Sequence[Sequence[Moved]], tmp_path: Path) -> None:
    with scene[0][0].system() as stack, exporting(stack.run_dir, tmp_path) as exporter:
        served(stack, ATOM, VM)
        for act in scene:
            first = settled(exporter)
            act[0].arrange(stack)
            with act[0].held(stack):
                for one in act:
                    moves(exporter, one, read(first, one))


def moves(exporter: Exporter, one: Moved, before: float) -> None:
    def moved() -> bool:
        now = read(exporter.scrape(), one)
        return now < before if one.falls else now > before

    eventually(moved, what=f"{one.name} {one.labels} moves from {before}", deadline_s=30)


def settled(exporter: Exporter) -> Scrape:
    """A scrape, once the worker has told what it counts (with its first beat, 2 s)."""
    found: list[Scrape] = []

    def told() -> bool:
        found[:] = [exporter.scrape()]
        return found[0].value("rbln_list_streams", pool=ATOM) == 1

    eventually(told, what="the worker's figures")
    return found[0]


def test_facts(tmp_path: Path) -> None:
    with two_pools() as stack, exporting(stack.run_dir, tmp_path) as exporter:
        served(stack)
        for name, labels in FACTS.items():
            if name == "rbln_process_proportional_memory_bytes" and os.geteuid():
                continue  # /proc/<pid>/smaps_rollup is root's

            def holds(name: str = name, labels: Mapping[str, str] = labels) -> bool:
                return exporter.scrape().total(name, **labels) > 0

            eventually(holds, what=name)
