"""What a container is told, put together of what its devices' providers offer."""

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.core.allocation.device_allocation import (
    DeviceAllocation,
    build_allocation,
    dedupe_by_host_path,
    env_names,
    env_vars,
    go_json,
)
from rbln_worker.core.allocation.host_facts import HostFacts
from rbln_worker.core.allocation.providers.provider import DeviceNode, ProviderInput, same_path

BDF = DeviceId("0000:20:00.0")


def ask(vendor: str, extra: dict[str, dict[str, str]] | None = None) -> DeviceAllocation:
    function = PciFunction(Bdf(BDF), vendor, "1120", 0x12, "dfl-pci", 0)
    pool = PoolSpec("rebellions.ai", "ATOM", "accelerator", additional_info=extra)
    return build_allocation(ProviderInput(Device(BDF, function), pool, HostFacts()))


def test_any_other_driver_has_a_generic_section_only() -> None:
    for vendor in ("8086", "1eff"):
        told = ask(vendor)
        assert (told.nodes, told.mounts, told.faults) == ((), (), ())
        assert told.info == f'"{BDF}":{{"generic":{{"deviceID":"{BDF}"}}}}'


def test_additional_info_stands_under_both_names_its_own_keys_over_everybodys() -> None:
    extra = {"*": {"a": "1", "b": "2"}, BDF: {"b": "3"}, "0000:99:00.0": {"c": "4"}}
    told = ask("8086", extra)
    keys = '{"a":"1","b":"3"}'
    assert told.info == (
        f'"{BDF}":{{"extra":{keys},"extraInfo":{keys},"generic":{{"deviceID":"{BDF}"}}}}'
    )
    assert '"extra":{},"extraInfo":{}' in ask("8086", {}).info


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
    assert list(env_vars(names, ["a", "a", "b"], infos).values()) == [
        "a,a,b",
        "a,a,b",
        '{"a":{},"b":{}}',
    ]
    assert list(env_vars(names, [], {}).values()) == ["", "", "{}"]


def test_a_host_path_comes_once_and_the_first_counts() -> None:
    one, other = DeviceNode("/dev/a", "/x"), DeviceNode("/dev/a", "/y")
    assert dedupe_by_host_path([one, other, same_path("/dev/b")]) == (one, same_path("/dev/b"))


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
