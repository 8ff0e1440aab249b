"""A function whose interface a pod has is still what it was."""

import msgspec

from rbln_supervisor.core.discovery.carry_over import node_of_devices, with_carried_over
from rbln_worker.contract.device import Device, DeviceId, Network, PciFunction
from rbln_worker.contract.inventory import NodeInventory
from tests.unit.inventory import P0, node, pf, sf, vf

IB = Network(interfaces=("ib0",), link_type="infiniband", pkey="0x8001", rdma_capable=True)
AWAY = Network()


def seen(*looks: NodeInventory) -> NodeInventory:
    known = NodeInventory()
    for look in looks:
        known = with_carried_over(known, look)
    return known


def without_pf_name(function: PciFunction) -> PciFunction:
    return msgspec.structs.replace(function, pf_names=())


def test_what_selectors_ask_for_stays() -> None:
    after = seen(node(vf(0, network=IB)), node(vf(0, network=AWAY)), node(vf(0, network=AWAY)))
    network = after.functions[vf(0).bdf].network
    assert network == msgspec.structs.replace(IB, interfaces=())


def test_the_name_of_a_pf_that_a_pod_has_stays() -> None:
    after = seen(node(pf(), vf(0)), node(pf(), without_pf_name(vf(0, network=AWAY))))
    assert after.functions[vf(0).bdf].pf_names == ("p0",)


def test_an_interface_that_is_here_says_what_it_is() -> None:
    now = Network(interfaces=("ib0",), link_type="infiniband")
    assert (
        seen(node(vf(0, network=IB)), node(vf(0, network=now))).functions[vf(0).bdf].network == now
    )


def test_another_driver_makes_another_device_of_it() -> None:
    other = vf(0, driver="vfio-pci", network=AWAY)
    assert seen(node(vf(0, network=IB)), node(other)).functions[other.bdf] == other


def test_a_function_that_was_away_begins_anew() -> None:
    after = seen(node(vf(0, network=IB)), node(), node(vf(0, network=AWAY)))
    assert after.functions[vf(0).bdf].network == AWAY


def test_sub_functions_too() -> None:
    after = seen(
        node(pf(), subfunctions=[sf(4, network=IB)]), node(pf(), subfunctions=[sf(4, network=AWAY)])
    )
    assert after.subfunctions[P0][0].network.pkey == "0x8001"


def test_another_sub_function_of_the_same_name() -> None:
    other = msgspec.structs.replace(sf(4, network=AWAY), number=99)
    after = seen(node(pf(), subfunctions=[sf(4, network=IB)]), node(pf(), subfunctions=[other]))
    assert after.subfunctions[P0] == (other,)


def test_workers_hold_what_their_supervisor_saw() -> None:
    held = (
        Device(DeviceId(vf(0).bdf), vf(0, network=IB)),
        Device(DeviceId(vf(1).bdf), vf(1, network=IB), gone="unplugged"),
        Device(DeviceId("mlx5_core.sf.4"), pf(), sf(4, network=IB)),
        Device(DeviceId("mlx5_core.sf.5"), pf(), sf(5, network=IB)),
    )
    now = node(
        *(pf(), vf(0, network=AWAY), vf(1, network=AWAY)),
        subfunctions=[sf(4, network=AWAY), sf(5, network=AWAY)],
    )
    after = with_carried_over(node_of_devices(held), now)
    assert after.functions[vf(0).bdf].network == msgspec.structs.replace(IB, interfaces=())
    assert after.functions[vf(1).bdf].network == AWAY
    assert [one.network.pkey for one in after.subfunctions[P0]] == ["0x8001", "0x8001"]
