"""No device has two owners, and its owner is the first of the file that wants it."""

import random

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.assign import assign, matches, unusable
from rbln_supervisor.core.configuration.config import PoolConfig, SelectorObject
from rbln_worker.contract.device import Bdf, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec

VENDORS = st.sampled_from(["1eff", "8086"])
PRODUCTS = st.sampled_from(["1120", "1220", "2030"])
DRIVERS = st.sampled_from(["rebellions", "vfio-pci", "dfl-pci"])
ADDRESSES = st.sampled_from([f"0000:{bus:02x}:00.0" for bus in range(8)])

FUNCTIONS = st.lists(
    st.builds(
        PciFunction,
        bdf=ADDRESSES.map(Bdf),
        vendor=VENDORS,
        product=PRODUCTS,
        base_class=st.sampled_from([0x12, 0x12, 0x02]),
        driver=st.none() | DRIVERS,
        numa_node=st.none() | st.integers(0, 1),
        has_vfs=st.booleans(),
    ),
    unique_by=lambda function: function.bdf,
    max_size=8,
)


def some(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=2).map(tuple)


SELECTORS = st.builds(
    SelectorObject,
    vendors=some(VENDORS),
    devices=some(PRODUCTS),
    drivers=some(DRIVERS),
    pci_addresses=some(ADDRESSES),
)
POOLS = st.lists(st.lists(SELECTORS, min_size=1, max_size=3), min_size=1, max_size=4).map(
    lambda each: [
        PoolConfig(PoolSpec("p", f"pool{number}", "accelerator"), tuple(selectors))
        for number, selectors in enumerate(each)
    ]
)


@given(POOLS, FUNCTIONS)
def test_the_first_that_wants_a_device_has_it(
    pools: list[PoolConfig], functions: list[PciFunction]
) -> None:
    assigned = assign(pools, functions)
    assert list(assigned) == [pool.spec.name for pool in pools]
    for function in functions:
        wanting = [
            pool.spec.name
            for pool in pools
            if any(matches(selector, function) for selector in pool.selectors)
        ]
        candidate = function.base_class == 0x12 and unusable(function) is None
        owners = [name for name, devices in assigned.items() if DeviceId(function.bdf) in devices]
        assert owners == (wanting[:1] if candidate else [])
    for devices in assigned.values():
        assert list(devices) == sorted(devices)
        assert all(
            device.id == key == DeviceId(device.function.bdf) for key, device in devices.items()
        )
        assert all(device.gone is None for device in devices.values())


@given(POOLS, FUNCTIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_inventory_means_nothing(
    pools: list[PoolConfig], functions: list[PciFunction], dice: random.Random
) -> None:
    shuffled = functions.copy()
    dice.shuffle(shuffled)
    assert assign(pools, shuffled) == assign(pools, functions)


@given(POOLS, FUNCTIONS)
def test_a_pool_at_the_end_takes_nothing_from_those_before(
    pools: list[PoolConfig], functions: list[PciFunction]
) -> None:
    whole = assign(pools, functions)
    fewer = assign(pools[:-1], functions)
    assert {name: whole[name] for name in fewer} == fewer
