"""A node shows what a plugin has from the moment that it is there."""

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.plugin import Plugin
from tests.system.scene import ATOM, VM


def test_every_device_is_capacity_and_allocatable(plugin: Plugin, bench: Bench, way: str) -> None:
    plugin.stop()
    for name, full in ((ATOM, 4), (VM, 2)):
        bench.history.wait_for(name, 0, full)
    began = plugin.start()
    there = bench.all_allocatable(since=began)
    pools = plugin.serves(ATOM, VM).pools
    assert {pool.registration for pool in pools.values()} == {way}
    bench.report.add(f"rbln-supervisor starts ({way})", "4 of 4 and 2 of 2", there - began)
