"""Whoever of us dies: allocatable comes back, running pods and other resources notice nothing."""

from tests.e2e.cluster.bench import TURN_S, Bench
from tests.e2e.cluster.plugin import Plugin
from tests.system.scene import ATOM, VM

BLIP_S = {"kubelet-sock": 0.5, "plugin-watcher": 0.5 + TURN_S}
"""How long a resource may have no device. The plugin watcher looks once a second."""


def test_a_killed_worker_is_replaced(plugin: Plugin, bench: Bench, way: str) -> None:
    container = bench.pod({ATOM: 2}).running()
    before = plugin.worker(ATOM)
    with bench.untouched(container, resources=(VM,)):
        plugin.kill_worker(ATOM)
        plugin.wait(
            lambda status: (
                status.pools[ATOM].registered and status.pools[ATOM].worker.pid != before
            ),
            what="another worker's registration",
        )
        bench.settled(ATOM)
    seen = bench.blip(ATOM)
    assert 0 < seen.dark_s < BLIP_S[way]
    bench.report.add(f"a worker is killed ({way})", f"{seen}; {VM} never moved", seen.dark_s)


def test_a_killed_supervisor_is_nobodys(plugin: Plugin, bench: Bench, way: str) -> None:
    container = bench.pod({ATOM: 2}).running()
    before = plugin.worker(ATOM)
    with bench.untouched(container, resources=(ATOM, VM)):
        plugin.kill()
        plugin.start()
        plugin.serves(ATOM, VM)
        bench.settled(ATOM)
    assert plugin.worker(ATOM) == before
    seen = bench.blip(ATOM)
    assert seen.dark_s == 0
    bench.report.add(f"the supervisor is killed and started again ({way})", str(seen), seen.dark_s)


def test_a_stopped_supervisor_takes_its_devices_and_brings_them_back(
    plugin: Plugin, bench: Bench, way: str
) -> None:
    container = bench.pod({ATOM: 2}).running()
    with bench.untouched(container):
        stopped = plugin.stop()
        gone = max(
            bench.history.wait_for(name, 0, full, since=stopped)
            for name, full in ((ATOM, 4), (VM, 2))
        )
        refused = bench.pod({ATOM: 1}).refused()
        started = plugin.start()
        back = bench.all_allocatable(since=started)
        bench.pod({ATOM: 2}).running()
    assert refused == "UnexpectedAdmissionError"
    bench.report.add(
        f"rbln-supervisor is stopped ({way})",
        "allocatable 0 of 4 and 0 of 2, a new pod is refused, the running one runs on",
        gone - stopped,
    )
    bench.report.add("… and started", "4 of 4 and 2 of 2, a new pod runs", back - started)
