"""What of a node is a device of which type, and what no pool can have."""

import msgspec
import pytest

from rbln_supervisor.core.device_types.base import RefusalReason
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES, candidates
from rbln_worker.contract.device import AuxName, Bdf, Network, PciFunction, Subfunction
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import DeviceType

NIC = PciFunction(Bdf("0000:5e:00.0"), "8086", "1592", 0x02, "ice", 0, network=Network(("eno1",)))


def change(function: PciFunction, **facts: object) -> PciFunction:
    return msgspec.structs.replace(function, **facts)


def refusals(
    device_type: DeviceType, function: PciFunction, *subfunctions: Subfunction
) -> dict[str, RefusalReason | None]:
    node = NodeInventory({function.bdf: function}, {function.bdf: subfunctions})
    return {one.device.id: one.refusal for one in candidates(node, device_type)}


def sf(name: str, number: int, **network: object) -> Subfunction:
    facts = msgspec.structs.replace(Network((f"en{number}",)), **network)
    return Subfunction(AuxName(name), name.split(".")[1], number, NIC.bdf, ("p0",), facts)


@pytest.mark.parametrize(
    ("function", "refusal"),
    [
        (NIC, None),
        (change(NIC, sriov=True), None),
        (change(NIC, sriov=True, has_vfs=True), RefusalReason.VFS_ENABLED),
        (change(NIC, has_vfs=True), None),  # without sriov_totalvfs: the reference gives it out
        (change(NIC, driver=None), RefusalReason.NO_DRIVER),
        (change(NIC, network=None), None),
    ],
)
def test_network_functions(function: PciFunction, refusal: RefusalReason | None) -> None:
    assert refusals("netDevice", function) == {NIC.bdf: refusal}


def test_the_node_keeps_its_own_way_out() -> None:
    uplink = change(NIC, network=Network(("eno1",), default_route=True))
    (refusal,) = refusals("netDevice", uplink).values()
    assert refusal is RefusalReason.DEFAULT_ROUTE
    assert "--allow-default-route" in refusal.text


def test_subfunctions_are_devices_whatever_their_function_is() -> None:
    busy = change(NIC, sriov=True, has_vfs=True, network=Network(("p0",), default_route=True))
    subfunctions = (sf("mlx5_core.sf.2", 88), sf("mlx5_core.sf.3", 89, default_route=True))
    found = refusals("auxNetDevice", busy, *subfunctions)
    assert found["mlx5_core.sf.2"] is None
    assert found["mlx5_core.sf.3"] is RefusalReason.DEFAULT_ROUTE
    assert list(found) == ["mlx5_core.sf.2", "mlx5_core.sf.3"]
    unbound = refusals("auxNetDevice", change(NIC, driver=None), *subfunctions)
    assert set(unbound.values()) == {RefusalReason.NO_FUNCTION_DRIVER}


def test_a_subfunction_and_its_function_are_two_devices() -> None:
    assert refusals("netDevice", NIC, sf("mlx5_core.sf.2", 0)) == {NIC.bdf: None}
    assert refusals("accelerator", NIC, sf("mlx5_core.sf.2", 0)) == {}


def test_the_pf_of_other_vendors_accelerators_stays() -> None:
    pf = change(NIC, base_class=0x12, has_vfs=True, sriov=True)
    assert refusals("accelerator", pf) == {NIC.bdf: None}
    ours = refusals("accelerator", change(pf, vendor="1eff"))
    assert ours == {NIC.bdf: RefusalReason.VFS_ENABLED}


def test_selectors_are_asked_in_the_documented_order() -> None:
    first = ("vendors", "devices", "drivers")
    assert DEVICE_TYPES["accelerator"].selectors == (*first, "pciAddresses", "acpiIndexes")
    assert DEVICE_TYPES["netDevice"].selectors == (
        *(*first, "pciAddresses", "acpiIndexes", "pfNames", "rootDevices", "linkTypes"),
        *("ddpProfiles", "pKeys", "isRdma", "needVhostNet", "vdpaType"),
    )
    assert DEVICE_TYPES["auxNetDevice"].selectors == (
        *(*first, "auxTypes", "pfNames", "rootDevices", "linkTypes", "isRdma", "needVhostNet"),
    )
