"""A rolling update: the new instance starts, then the old one is stopped."""

from pathlib import Path

from tests.e2e.cluster.bench import TURN_S, Bench
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.plugin import Plugin
from tests.system.scene import ATOM, TWO_POOLS, VM


def test_the_new_instance_takes_over(
    plugin: Plugin, bench: Bench, node: HostNode, home: Path, way: str
) -> None:
    container = bench.pod({ATOM: 2}).running()
    new = Plugin(home / "new", node.root, TWO_POOLS, way, bench.cluster.traces)
    with bench.untouched(container), new:
        new.serves(ATOM, VM)
        bench.settled(ATOM)
        assert bench.blip(ATOM).below_s == 0
        plugin.stop()
        bench.settled(ATOM)
        new.serves(ATOM, VM)
        bench.pod({ATOM: 2}).running()
        seen = bench.blip(ATOM)
        plugin.start()
        plugin.serves(ATOM, VM)
    bench.settled(ATOM)
    # With a plugin watcher the old socket's end takes the new endpoint along, and the next one is
    # found a turn later (rbln_worker/core/registration.py says why).
    assert seen.dark_s < TURN_S + 0.5 if way == "plugin-watcher" else seen.dark_s == 0
    bench.report.add(
        f"the new instance starts, the old one is stopped ({way})", str(seen), seen.dark_s
    )
