"""Every device is in one pool at most, whatever the order, and of each the reason can be told."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.config.pf_ranges import PfRange, Range
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES, candidates
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.explain import Decision, explain, match_counts, pool_decisions
from rbln_supervisor.core.matching.plan import make_plan
from rbln_worker.contract.device import (
    REBELLIONS,
    AuxName,
    Bdf,
    Network,
    PciFunction,
    Subfunction,
    Vdpa,
)
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import PoolName, PoolSpec

# Few values each, so that selectors and devices meet.
VENDORS = st.sampled_from(["8086", "15b3", REBELLIONS])
DRIVERS = st.sampled_from(["iavf", "vfio-pci"])
ADDRESSES = st.integers(0, 15).map(lambda n: Bdf(f"0000:3b:0{n // 8}.{n % 8}"))
NAMES = st.sampled_from(["p0", "P1", "p2"])
INDEXES = st.integers(0, 4)
NETWORKS = st.builds(
    Network,
    interfaces=st.sampled_from([(), ("e0",)]),
    link_type=st.sampled_from(["", "ether", "infiniband"]),
    pkey=st.sampled_from(["", "0x8001"]),
    rdma_capable=st.booleans(),
    vdpa=st.none() | st.builds(Vdpa, st.just("vdpa0"), st.sampled_from(["", "vhost", "virtio"])),
    ddp_profile=st.sampled_from(["", "gtp"]),
    default_route=st.integers(0, 9).map(lambda n: n == 0),
)
FUNCTIONS = st.builds(
    PciFunction,
    bdf=ADDRESSES,
    vendor=VENDORS,
    product=st.sampled_from(["1889", "1120"]),
    base_class=st.sampled_from([0x02, 0x02, 0x12, 0x01]),
    driver=st.none() | DRIVERS,
    numa_node=st.none(),
    acpi_index=st.sampled_from(["", "1"]),
    has_vfs=st.booleans(),
    sriov=st.booleans(),
    pf=st.none() | ADDRESSES,
    pf_names=st.lists(NAMES, max_size=2).map(tuple),
    index=st.none() | INDEXES,
    network=st.none() | NETWORKS,
)
SUBFUNCTIONS = st.builds(
    Subfunction,
    name=st.just(AuxName("")),
    kind=st.sampled_from(["sf", "other"]),
    number=INDEXES,
    pf=ADDRESSES,
    pf_names=st.lists(NAMES, max_size=2).map(tuple),
    network=NETWORKS,
)


@st.composite
def nodes(draw: st.DrawFn) -> NodeInventory:
    functions = draw(st.lists(FUNCTIONS, max_size=6, unique_by=lambda one: one.bdf))
    below: dict[Bdf, tuple[Subfunction, ...]] = {}
    for at, function in enumerate(functions):
        parts = draw(st.lists(SUBFUNCTIONS, max_size=2))
        below[function.bdf] = tuple(
            Subfunction(
                AuxName(f"mlx5_core.sf.{at * 2 + n}"),
                *(part.kind, part.number, part.pf, part.pf_names, part.network),
            )
            for n, part in enumerate(parts)
        )
    return NodeInventory({one.bdf: one for one in functions}, below)


def some(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.just(()) | st.lists(values, max_size=2).map(tuple)


RANGES = st.tuples(INDEXES, INDEXES).map(lambda ends: Range(min(ends), max(ends)))
PFS = st.builds(PfRange, NAMES, st.none() | st.lists(RANGES, min_size=1, max_size=2).map(tuple))
ROOTS = st.builds(PfRange, ADDRESSES, st.none())
SELECTORS = st.builds(
    SelectorObject,
    vendors=some(VENDORS),
    devices=some(st.just("1889")),
    drivers=some(DRIVERS),
    pci_addresses=some(ADDRESSES),
    acpi_indexes=some(st.sampled_from(["", "1"])),
    aux_types=some(st.just("sf")),
    pf_names=st.just(()) | st.lists(PFS, max_size=2).map(tuple),
    root_devices=st.just(()) | st.lists(ROOTS, max_size=2).map(tuple),
    link_types=some(st.just("ether")),
    ddp_profiles=some(st.just("gtp")),
    p_keys=some(st.just("0x8001")),
    is_rdma=st.booleans(),
    need_vhost_net=st.booleans(),
    vdpa_type=st.sampled_from(["", "", "vhost"]),
)


@st.composite
def pools(draw: st.DrawFn) -> tuple[PoolConfig, ...]:
    names = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True))
    return tuple(
        PoolConfig(
            PoolSpec("x.io", name, draw(st.sampled_from(tuple(DEVICE_TYPES)))),
            tuple(draw(st.lists(SELECTORS | st.just(SelectorObject()), min_size=1, max_size=3))),
        )
        for name in names
    )


@given(pools(), nodes())
def test_no_device_is_in_two_pools(
    configured: tuple[PoolConfig, ...], found: NodeInventory
) -> None:
    assigned = assign(configured, found)
    owned = [(device, pool) for pool, each in assigned.devices.items() for device in each]
    assert len({device for device, _ in owned}) == len(owned)
    assert {(device, place.pool) for device, place in assigned.taken.items()} == set(owned)
    assert list(assigned.devices) == [pool.spec.name for pool in configured]
    for each in assigned.devices.values():
        assert list(each) == sorted(each)
        assert all(device.id == device_id for device_id, device in each.items())


@given(st.data(), pools(), nodes())
def test_the_order_of_the_inventory_has_no_meaning(
    data: st.DataObject, configured: tuple[PoolConfig, ...], found: NodeInventory
) -> None:
    functions = data.draw(st.permutations(tuple(found.functions.items())))
    shuffled = NodeInventory(
        dict(functions),
        {bdf: tuple(reversed(parts)) for bdf, parts in found.subfunctions.items()},
    )
    before, after = assign(configured, found), assign(configured, shuffled)
    assert after == before
    assert [list(each) for each in after.devices.values()] == [
        list(each) for each in before.devices.values()
    ]


@given(pools(), nodes())
def test_a_pool_more_at_the_end_takes_nothing_from_those_before_it(
    configured: tuple[PoolConfig, ...], found: NodeInventory
) -> None:
    fewer, more = assign(configured[:-1], found), assign(configured, found)
    assert more.taken.items() >= fewer.taken.items()


@given(pools(), nodes())
def test_the_reason_can_be_told_of_every_device(
    configured: tuple[PoolConfig, ...], found: NodeInventory
) -> None:
    assigned = assign(configured, found)
    lengths = {pool.spec.name: len(pool.selectors) for pool in configured}
    for device_type in DEVICE_TYPES:
        for candidate in candidates(found, device_type):
            told = explain(NodeConfig(configured), found, candidate.device.id, {})
            assert told is not None
            assert (told.device, told.device_type) == (candidate.device.id, device_type)
            place = assigned.taken.get(told.device)
            assert (told.pool, told.selector) == (place or (None, None))
            assert told.refusal == candidate.refusal
            assert bool(told.detail) == (told.refusal is not None)
            if told.refusal:
                assert place is None
                continue
            assert [one.pool for one in told.pools] == list(lengths)
            takers = [one.pool for one in told.pools if one.decision is Decision.MATCHED]
            assert takers == ([place.pool] if place else [])
            for one in told.pools:
                if one.decision is Decision.REJECTED:
                    assert len(one.mismatches) == lengths[PoolName(one.pool)]
                elif one.decision is not Decision.OTHER_TYPE:
                    assert one.selector == len(one.mismatches)
                assert all(each.has not in each.wanted or not each.has for each in one.mismatches)


@given(pools(), nodes())
def test_every_candidate_is_counted_once(
    configured: tuple[PoolConfig, ...], found: NodeInventory
) -> None:
    assigned = assign(configured, found)
    for pool, tally in match_counts(configured, found).items():
        device_type = next(one.spec.device_type for one in configured if one.spec.name == pool)
        every = list(candidates(found, device_type))
        said = [
            opinion.decision
            for one in every
            if one.refusal is None
            for opinion in pool_decisions(configured, device_type, one.device)
            if opinion.pool == pool
        ]
        assert tally.total() == len(every)
        assert tally[Decision.REFUSED] == sum(one.refusal is not None for one in every)
        assert tally[Decision.MATCHED] == len(assigned.devices[pool])
        for decision in (Decision.MATCHED, Decision.SHADOWED, Decision.REJECTED):
            assert tally[decision] == said.count(decision)


@given(pools(), pools(), nodes())
def test_a_plan_leads_from_what_is_to_what_would_be(
    now: tuple[PoolConfig, ...], then: tuple[PoolConfig, ...], found: NodeInventory
) -> None:
    before, after = assign(now, found), assign(then, found)
    made = make_plan(NodeConfig(now), before.devices, NodeConfig(then), found)
    places = {device: place.pool for device, place in before.taken.items()}
    for move in made.moves:
        assert places.pop(move.device, None) == move.before != move.after
        if move.after:
            places[move.device] = move.after
    assert places == {device: place.pool for device, place in after.taken.items()}
    assert {name for name, pool in made.pools.items() if pool.change != "removed"} == set(
        after.devices
    )
