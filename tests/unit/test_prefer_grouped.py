"""Devices that share IOMMU groups are preferred group by group."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec, Preferring
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.choose import Preferred, choose_devices
from rbln_worker.core.preferred.topology import PoolTopology, pool_topology

POLICIES: tuple[Preferring, ...] = ("", "topology", "packed", "spread")


def device(name: str, group: str, numa: int = 0) -> Device:
    bdf = Bdf(f"0000:{name}:00.0")
    return Device(
        DeviceId(bdf), PciFunction(bdf, "1eff", "1121", 0x12, "vfio-pci", numa, iommu_group=group)
    )


def places(groups: str, policy: Preferring = "", numa: str = "") -> PoolTopology:
    """``aab``: three devices, the first two in one group; a dot is one by itself."""
    pool = PoolSpec(
        "x.io", "a", "accelerator", preferred_allocation=policy, allow_cross_numa=not numa
    )
    return pool_topology(
        pool,
        [
            device(f"{n:02x}", f"1{n}" if name == "." else name, int(numa[n]) if numa else 0)
            for n, name in enumerate(groups)
        ],
    )


def chosen(known: PoolTopology, size: int, *, used: str = "", must: str = "") -> str:
    ids = sorted(known.places)
    available = [one for n, one in enumerate(ids) if f"{n:x}" not in used]
    included = [one for n, one in enumerate(ids) if f"{n:x}" in must]
    found = choose_devices(known, available, included, size, Budget(10_000))
    assert isinstance(found, Preferred)
    return "".join(f"{ids.index(one):x}" for one in found.devices)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("groups", "size", "used", "must", "wanted"),
    [
        ("abab", 2, "", "", "02"),  # a group, not two halves
        ("abab", 2, "0", "", "13"),  # the other of a group in use comes last
        ("abab", 3, "0", "", "123"),
        ("aab.", 1, "", "", "2"),  # by itself: no group is broken
        ("aabb", 3, "", "", "012"),
        ("aabbb", 3, "", "", "234"),
        ("aabbb", 2, "", "", "01"),
        ("aabbb", 4, "", "", "0234"),
        ("abab", 2, "", "1", "13"),  # that of what must be included comes first
        ("aa..", 2, "0", "", "23"),
        ("aabb", 1, "0", "", "2"),  # a broken one last, although it is free
        ("aabb", 4, "", "", "0123"),
    ],
)
def test_a_group_stays_together(
    groups: str, size: int, used: str, must: str, wanted: str, policy: Preferring
) -> None:
    assert chosen(places(groups, policy), size, used=used, must=must) == wanted


def test_a_numa_node_counts_more() -> None:
    assert chosen(places("abab", "topology", "0011"), 2) in {"01", "23"}


def test_none_says_nothing() -> None:
    assert chosen(places("abab", "none"), 2) == ""


def test_groups_of_one_device_change_nothing() -> None:
    assert not places("abcd").groups
    assert chosen(places("abcd"), 2) == "", "the kubelet may choose, as it always could"


@given(
    st.text("abcd.", max_size=16),
    st.sampled_from(POLICIES),
    st.sets(st.integers(0, 15)),
    st.sets(st.integers(0, 15), max_size=3),
    st.integers(-1, 20),
)
def test_whatever_is_asked(
    groups: str, policy: Preferring, used: set[int], must: set[int], size: int
) -> None:
    known = places(groups, policy)
    ids = sorted(known.places)
    free = {one for n, one in enumerate(ids) if n not in used}
    included = {one for n, one in enumerate(ids) if n in must}
    found = choose_devices(known, free, included, size, Budget(100_000))
    assert isinstance(found, Preferred)
    if not known.groups:
        return
    got = set(found.devices)
    assert len(got) == len(found.devices)
    assert included <= got <= included | free
    assert len(got) == max(len(included), min(size, len(included | free)))
    whole = Counter(known.groups.values())
    unbroken = {
        group
        for group, count in whole.items()
        if count == sum(known.groups.get(one) == group for one in free - included)
    }
    halved = [
        group
        for group in unbroken
        if 0 < sum(known.groups.get(one) == group for one in got) < whole[group]
    ]
    assert len(halved) <= 1, "one group at most is begun and not filled"
