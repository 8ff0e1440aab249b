"""RSD groups: what is made, what is removed, and what foreign lists of groups say."""

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers.provider import DeviceNode, same_path
from rbln_worker.core.dra.rsd import (
    MAX_GROUP,
    GroupPlan,
    Groups,
    RsdError,
    confirmed_orphans,
    create_arguments,
    groupable_npus,
    orphan_groups,
    parse_group_file,
    plan_group,
    remove_arguments,
    with_group_node,
)


def npus(*numbers: int) -> frozenset[str]:
    return frozenset(f"rbln{number}" for number in numbers)


ALL = npus(*range(8))


@pytest.mark.parametrize(
    ("groups", "others", "expected"),
    [
        pytest.param({0: npus(0, 1, 2)}, (), GroupPlan(1), id="the first group is 1"),
        pytest.param({}, (), GroupPlan(1), id="no list of group 0 is needed"),
        pytest.param(
            {1: npus(4), 3: npus(5)}, (), GroupPlan(2), id="the lowest free ID, not the next one"
        ),
        pytest.param(
            {1: npus(4), 2: npus(0, 1)}, (), GroupPlan(2, exists=True), id="a crash left it whole"
        ),
        pytest.param(
            {1: npus(0, 5), 2: npus(1)}, (), GroupPlan(3, stale=(1, 2)), id="unused ones make room"
        ),
        pytest.param(
            {0: npus(0, 1, 2)}, npus(2), GroupPlan(1), id="group 0 is no group: leaving it is safe"
        ),
    ],
)
def test_npus_become_one_group(groups: Groups, others: frozenset[str], expected: GroupPlan) -> None:
    assert plan_group(("rbln0", "rbln1"), groups, ALL - frozenset(others)) == expected


@pytest.mark.parametrize(
    ("groups", "others", "reason"),
    [
        pytest.param({}, npus(1, 7), "rbln1: in use by another claim or pod", id="an NPU in use"),
        pytest.param(
            {4: npus(0, 5, 6)},
            npus(5),
            "rbln0: in RSD group 4 with rbln5, which others may use",
            id="a group in use",
        ),
        pytest.param(
            {number: npus(100 + number) for number in range(1, MAX_GROUP + 1)},
            (),
            "all 255 RSD groups exist",
            id="no ID left",
        ),
    ],
)
def test_no_group_of_others_is_touched(groups: Groups, others: frozenset[str], reason: str) -> None:
    with pytest.raises(RsdError, match=f"^{reason}$"):
        plan_group(("rbln0", "rbln1"), groups, ALL - frozenset(others))


def test_an_orphan_has_only_unused_npus_of_the_pool() -> None:
    groups = {0: npus(9), 1: npus(0, 1), 2: npus(2), 3: npus(3, 8), 4: npus(4)}
    orphans = orphan_groups(groups, free=npus(0, 2, 3, 4, 9))
    assert orphans == {2: npus(2), 4: npus(4)}


def test_an_orphan_is_confirmed_by_a_second_read_with_the_same_members() -> None:
    earlier = {1: npus(0), 2: npus(1, 2), 3: npus(3)}
    now = {1: npus(0), 2: npus(1), 4: npus(3)}
    assert confirmed_orphans(earlier, now) == {1: npus(0)}


def test_the_driver_lists_a_group_and_an_npu_per_line() -> None:
    text = "group_id, name, device\n0,rsd0,rbln0\n3,rsd3,rbln1\n3,rsd3,rbln12\n\n"
    assert parse_group_file(text) == {0: npus(0), 3: npus(1, 12)}
    assert parse_group_file("group_id, name, device\n") == {}
    assert parse_group_file("") == {}


@pytest.mark.parametrize(
    "line",
    [
        "1,rbln0",
        "x,rsd0,rbln0",
        "1,rsd1,../../etc",
        "1,rsd1,rbln0\n2,rsd2,rbln0",
        "-1,rsd1,rbln0",
        "1,-,",
    ],
)
def test_a_list_that_is_not_understood_is_not_used(line: str) -> None:
    with pytest.raises(RsdError, match="list of RSD groups"):
        parse_group_file(f"header\n{line}\n")


def test_the_tool_gets_numbers_of_npus() -> None:
    assert create_arguments(2, ("rbln10", "rbln9")) == ("group", "-c", "2", "-a", "9,10")
    assert remove_arguments(2) == ("group", "-d", "2")


def device(product: str, driver: str = "rebellions") -> Device:
    bdf = Bdf("0000:3b:00.0")
    function = PciFunction(bdf, "1eff", product, 0x12, driver, 0)
    return Device(DeviceId(bdf), function)


def test_only_atoms_with_their_driver_are_grouped() -> None:
    nodes = {"atom": "rbln10", "ca22": "rbln9", "rebel": "rbln1", "vm": "vfio/7", "gone": "rbln3"}
    answers = {
        DeviceId(name): DeviceAllocation(
            DeviceId(name), (same_path(f"/dev/{node}"), same_path("/dev/rsd0")), (), ""
        )
        for name, node in nodes.items()
    }
    devices = {
        DeviceId("atom"): device("1250"),
        DeviceId("ca22"): device("1220"),
        DeviceId("rebel"): device("2030"),
        DeviceId("vm"): device("1251", driver="vfio-pci"),
    }
    assert groupable_npus(devices, answers) == {"atom": "rbln10", "ca22": "rbln9"}


def test_a_container_has_its_groups_node_as_rsd0() -> None:
    nodes = same_path("/dev/rbln4"), same_path("/dev/rsd0")
    assert with_group_node(nodes, 3) == (
        same_path("/dev/rbln4"),
        DeviceNode(host="/dev/rsd3", container="/dev/rsd0"),
    )
