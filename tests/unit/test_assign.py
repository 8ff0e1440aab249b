"""Which pool gets which device."""

import msgspec
import pytest

from rbln_supervisor.core.assign import assign, matches, unusable
from rbln_supervisor.core.configuration.config import PoolConfig, SelectorObject
from rbln_worker.contract.device import Bdf, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec

NPU = PciFunction(
    bdf=Bdf("0000:20:00.0"),
    vendor="1eff",
    product="1120",
    base_class=0x12,
    driver="rebellions",
    numa_node=0,
    acpi_index="3",
)


def pool(name: str, *selectors: SelectorObject) -> PoolConfig:
    return PoolConfig(PoolSpec("rebellions.ai", name, "accelerator"), selectors)


def owners(*pools: PoolConfig, function: PciFunction = NPU) -> list[str]:
    return [
        name
        for name, devices in assign(pools, [function]).items()
        if DeviceId(function.bdf) in devices
    ]


@pytest.mark.parametrize(
    ("selector", "match"),
    [
        (SelectorObject(), True),
        (SelectorObject(vendors=("1eff",)), True),
        (SelectorObject(vendors=("1EFF",)), False),
        (SelectorObject(vendors=("8086", "1eff")), True),
        (SelectorObject(devices=("1121",)), False),
        (SelectorObject(drivers=("vfio-pci",)), False),
        (SelectorObject(pci_addresses=("0000:20:00.0",)), True),
        (SelectorObject(pci_addresses=("20:00.0",)), False),
        (SelectorObject(acpi_indexes=("3",)), True),
        (SelectorObject(acpi_indexes=("4",)), False),
        (SelectorObject(vendors=("1eff",), devices=("1120",), drivers=("rebellions",)), True),
        (SelectorObject(vendors=("1eff",), devices=("1120",), drivers=("x",)), False),
    ],
)
def test_each_list_that_is_not_empty_holds_the_value(
    selector: SelectorObject, *, match: bool
) -> None:
    assert matches(selector, NPU) is match


def test_the_first_pool_of_the_file_wins() -> None:
    anything = SelectorObject()
    assert owners(pool("A", anything), pool("B", anything)) == ["rebellions.ai/A"]
    assert owners(pool("B", anything), pool("A", anything)) == ["rebellions.ai/B"]
    other = SelectorObject(vendors=("8086",))
    assert owners(pool("A", other), pool("B", other, anything)) == ["rebellions.ai/B"]


@pytest.mark.parametrize(
    "change",
    [{"driver": None}, {"has_vfs": True}, {"base_class": 0x02}],
    ids=["no driver", "virtual functions", "another class"],
)
def test_nobody_gets_what_is_no_candidate(change: dict[str, object]) -> None:
    function = msgspec.structs.replace(NPU, **change)
    assert owners(pool("A", SelectorObject()), function=function) == []


def test_another_vendors_function_stays_beside_its_virtual_ones() -> None:
    function = msgspec.structs.replace(NPU, vendor="8086", has_vfs=True)
    assert unusable(function) is None
    assert owners(pool("A", SelectorObject()), function=function) == ["rebellions.ai/A"]


def test_every_pool_is_named_even_without_devices() -> None:
    assert assign([pool("A", SelectorObject())], []) == {"rebellions.ai/A": {}}
