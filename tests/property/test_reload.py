"""What a reload takes, who objects, and when a file is looked at."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.discovery.debounce import DEBOUNCE_S, MAX_DEBOUNCE_S, Debounce
from rbln_supervisor.core.matching import in_use
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.plan import devices_removed
from rbln_worker.contract.device import DeviceId, PciFunction
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pod_devices import PodDevice, ResourceHolders
from rbln_worker.contract.pool import PoolName, PoolSpec
from tests.property.worlds import FUNCTIONS

BUSES = range(5)
CONFIG = st.lists(
    st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from(BUSES))),
    min_size=1,
    max_size=3,
    unique_by=lambda pool: pool[0],
)
"""Pools, each with the buses whose devices it selects."""


def configured(pools: list[tuple[str, set[int]]]) -> NodeConfig:
    return NodeConfig(
        tuple(
            PoolConfig(
                PoolSpec("x.io", name, "accelerator"),
                tuple(SelectorObject(pci_addresses=(f"0000:0{bus}:00.0",)) for bus in buses),
            )
            for name, buses in pools
        )
    )


def node_of(functions: list[PciFunction]) -> NodeInventory:
    return NodeInventory({function.bdf: function for function in functions})


@given(CONFIG, CONFIG, FUNCTIONS)
def test_each_device_stays_or_is_taken(
    old: list[tuple[str, set[int]]], new: list[tuple[str, set[int]]], functions: list[PciFunction]
) -> None:
    before, after, node = configured(old), configured(new), node_of(functions)
    was, then = assign(before.pools, node), assign(after.pools, node)
    lost = devices_removed(before, was.devices, after, node)
    for device, place in was.taken.items():
        new_place = then.taken.get(device)
        if new_place is not None and new_place.pool == place.pool:
            assert (place.pool, device) not in lost
        else:
            expected = f"in {new_place.pool}" if new_place else "in no pool"
            assert lost[place.pool, device] == expected
    assert lost.keys() <= {(place.pool, device) for device, place in was.taken.items()}


@given(CONFIG, FUNCTIONS, st.sets(st.sampled_from(BUSES)))
def test_the_same_configuration_takes_nothing(
    pools: list[tuple[str, set[int]]], functions: list[PciFunction], gone: set[int]
) -> None:
    config, node = configured(pools), node_of(functions)
    listed = {
        pool.spec.name: [DeviceId(f"0000:0{bus}:00.0") for bus in gone] for pool in config.pools
    }
    assert devices_removed(config, {}, config, node) == {}
    # What is listed and gone is not taken by a configuration, unless another pool has it.
    lost = devices_removed(config, listed, config, node)
    assert all(to not in {"in no pool", f"in {pool}"} for (pool, _), to in lost.items())


@given(CONFIG, CONFIG, FUNCTIONS, st.sets(st.sampled_from(BUSES)))
def test_a_pool_that_goes_loses_also_what_is_gone(
    old: list[tuple[str, set[int]]],
    new: list[tuple[str, set[int]]],
    functions: list[PciFunction],
    gone: set[int],
) -> None:
    before, after = configured(old), configured(new)
    listed = {
        pool.spec.name: [DeviceId(f"0000:0{bus}:00.0") for bus in gone] for pool in before.pools
    }
    lost = devices_removed(before, listed, after, node_of(functions))
    for name in listed.keys() - {pool.spec.name for pool in after.pools}:
        assert {(name, device) for device in listed[name]} <= lost.keys()


KEYS = st.tuples(
    st.sampled_from([PoolName("x.io/a"), PoolName("x.io/b")]),
    st.sampled_from([DeviceId("d0"), DeviceId("d1"), DeviceId("d2")]),
)


@given(
    st.dictionaries(KEYS, st.sampled_from(["in no pool", "in x.io/c"])),
    st.lists(KEYS, unique=True),
    st.sampled_from([None, "no answer"]),
)
def test_who_has_what_is_taken_objects(
    lost: dict[tuple[str, DeviceId], str],
    had: list[tuple[PoolName, DeviceId]],
    unknown: str | None,
) -> None:
    holdings = tuple(PodDevice(resource, device, "ns", "p", "c") for resource, device in had)
    lines = in_use.removal_conflicts(lost, ResourceHolders(holdings, unknown=unknown))
    if unknown is not None:
        assert len(lines) == bool(lost)
        assert all(unknown in line for line in lines)
    else:
        both = [key for key in had if key in lost]
        assert len(lines) == len(both)
        for (resource, device), line in zip(both, lines, strict=True):
            assert line.startswith(f"{device}: pod ns/p, container c, uses it as {resource}, ")
    assert in_use.unchecked_warning(lost, ResourceHolders(holdings, unknown=unknown)) == ()


def test_a_flood_of_objections_is_bounded() -> None:
    a = PoolName("x.io/a")
    lost: dict[tuple[str, DeviceId], str]
    lost = {(a, DeviceId(f"d{number}")): "in no pool" for number in range(10_000)}
    held = ResourceHolders(tuple(PodDevice(a, device, "ns", "p", "c") for _, device in lost))
    lines = in_use.removal_conflicts(lost, held)
    assert len(lines) < 1000
    assert lines[-1].endswith(" more")


@given(st.lists(st.floats(0, 2), min_size=1, max_size=30))
def test_a_file_is_looked_at_when_it_is_quiet_or_has_waited(gaps: list[float]) -> None:
    """Each change is followed by a look, not at once and not later than it may be."""
    quiet, now, looked = Debounce(), 0.0, [0.0]
    changes = []
    for gap in gaps:
        now += gap
        if quiet.settles_at <= now:
            looked.append(quiet.settles_at)
            quiet = Debounce()
        changes.append(now)
        quiet = quiet.note_change(now)
        assert (
            now < quiet.settles_at <= now + DEBOUNCE_S
            or quiet.settles_at == (quiet.first or 0) + MAX_DEBOUNCE_S
        )
    looked.append(quiet.settles_at)
    assert math.isinf(Debounce().settles_at)
    for change in changes:
        assert min(look for look in looked if look >= change) <= change + MAX_DEBOUNCE_S
    assert looked[-1] >= changes[-1]
    assert all(b - a >= DEBOUNCE_S * 0.99 for a, b in pairwise(looked[1:]))
