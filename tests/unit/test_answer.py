"""What a container is told, put together of what its devices' providers offer."""

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.core.answer import DeviceAnswer, answer, env_names, envs, first_by_host, go_json
from rbln_worker.core.facts import Facts, Missing
from rbln_worker.core.providers.offer import Mount, Node, Question, same_path

BDF = DeviceId("0000:20:00.0")
TOOL = Mount("/usr/local/bin/rbln-stat", "/usr/bin/rbln-stat")
VFIO = same_path("/dev/vfio/vfio")


def ask(
    facts: Facts,
    *,
    driver: str = "rebellions",
    vendor: str = "1eff",
    product: str = "1120",
    extra: dict[str, dict[str, str]] | None = None,
) -> DeviceAnswer:
    function = PciFunction(Bdf(BDF), vendor, product, 0x12, driver, 0)
    pool = PoolSpec("rebellions.ai", "ATOM", "accelerator", additional_info=extra)
    return answer(Question(Device(BDF, function), pool, facts))


def test_an_npu_has_its_node_the_groups_and_the_tool() -> None:
    told = ask(Facts(rbln_node="rbln3", rsd_there=True))
    assert told.nodes == (same_path("/dev/rbln3"), same_path("/dev/rsd0"))
    assert told.mounts == (TOOL,)
    assert told.info == f'"{BDF}":{{"rebellions":{{"mount":"/dev/rbln3"}}}}'
    assert told.faults == ()


@pytest.mark.parametrize(
    ("product", "rsd_there", "nodes"),
    [("1120", False, 2), ("1120", True, 2), ("2030", False, 1), ("2031", True, 2)],
)
def test_only_products_without_a_group_do_without_its_node(
    product: str, *, rsd_there: bool, nodes: int
) -> None:
    told = ask(Facts(rbln_node="rbln3", rsd_there=rsd_there), product=product)
    assert len(told.nodes) == nodes


def test_a_tool_that_is_known_to_be_missing_is_not_mounted() -> None:
    assert ask(Facts(rbln_node="rbln3", tool_there=False)).mounts == ()


def test_an_npu_whose_node_is_not_known_is_at_fault() -> None:
    told = ask(Facts(rbln_node=Missing("pools: gone")))
    assert (told.nodes, told.faults) == ((), ("its node is not known (pools: gone)",))
    assert ask(Facts()).faults == ("its node is not known (not read)",)


@pytest.mark.parametrize(
    ("vendor", "sections"), [("1eff", {"vfio"}), ("8086", {"generic", "vfio"})]
)
def test_vfio(vendor: str, sections: set[str]) -> None:
    told = ask(Facts(iommu_group="7"), driver="vfio-pci", vendor=vendor)
    assert told.nodes == (VFIO, same_path("/dev/vfio/7"))
    assert {name for name in ("generic", "rebellions", "vfio") if f'"{name}"' in told.info} == (
        sections
    )


def test_a_group_without_an_iommu_has_another_name_inside() -> None:
    told = ask(Facts(iommu_group="7", noiommu=True), driver="vfio-pci")
    assert told.nodes == (VFIO, Node("/dev/vfio/noiommu-7", "/dev/vfio/7"))
    assert '"dev-mount":"/dev/vfio/7"' in told.info


def test_a_missing_group_is_a_fault() -> None:
    told = ask(Facts(iommu_group=Missing("x")), driver="vfio-pci")
    assert (told.nodes, told.faults) == ((VFIO,), ("no IOMMU group (x)",))


def test_any_other_driver_has_a_generic_section_only() -> None:
    for vendor in ("8086", "1eff"):
        told = ask(Facts(), driver="dfl-pci", vendor=vendor)
        assert (told.nodes, told.mounts, told.faults) == ((), (), ())
        assert told.info == f'"{BDF}":{{"generic":{{"deviceID":"{BDF}"}}}}'


def test_additional_info_stands_under_both_names_its_own_keys_over_everybodys() -> None:
    extra = {"*": {"a": "1", "b": "2"}, BDF: {"b": "3"}, "0000:99:00.0": {"c": "4"}}
    told = ask(Facts(), driver="dfl-pci", extra=extra)
    keys = '{"a":"1","b":"3"}'
    assert told.info == (
        f'"{BDF}":{{"extra":{keys},"extraInfo":{keys},"generic":{{"deviceID":"{BDF}"}}}}'
    )
    assert '"extra":{},"extraInfo":{}' in ask(Facts(), driver="dfl-pci", extra={}).info


def test_the_names_of_the_variables() -> None:
    names = env_names(PoolName("my-org.io/dpdk-1_a"))
    assert (names.resource, names.devices, names.info) == (
        "PCI_RESOURCE_MY-ORG_IO_DPDK-1_A",
        "PCIDEVICE_MY-ORG_IO_DPDK-1_A",
        "PCIDEVICE_MY-ORG_IO_DPDK-1_A_INFO",
    )


def test_the_variables() -> None:
    names = env_names(PoolName("p/n"))
    infos = {"a": '"a":{}', "b": '"b":{}'}
    assert list(envs(names, ["a", "a", "b"], infos).values()) == [
        "a,a,b",
        "a,a,b",
        '{"a":{},"b":{}}',
    ]
    assert list(envs(names, [], {}).values()) == ["", "", "{}"]


def test_a_host_path_comes_once_and_the_first_counts() -> None:
    one, other = Node("/dev/a", "/x"), Node("/dev/a", "/y")
    assert first_by_host([one, other, same_path("/dev/b")]) == (one, same_path("/dev/b"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<a&b>", r'"\u003ca\u0026b\u003e"'),
        ("\u2028\u2029", r'"\u2028\u2029"'),
        ("\n\r\t\b\f\0\x1f", r'"\n\r\t\b\f\u0000\u001f"'),
        ('"\\/', r'"\"\\/"'),
        ("\u00e9\u4e2d\U0001f600\x7f", '"\u00e9\u4e2d\U0001f600\x7f"'),
        ({"b": {"z": "1", "a": "2"}, "a": {}}, '{"a":{},"b":{"a":"2","z":"1"}}'),
    ],
)
def test_json_as_go_writes_it(value: object, text: str) -> None:
    assert go_json(value) == text
