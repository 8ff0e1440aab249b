"""Devices that pods hold stay listed: beyond the grace time, and though no look has found them."""

import msgspec
import pytest

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.discovery.links import LinkTable
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.pod_devices import devices_under_other_names, with_pool_names
from rbln_supervisor.core.workers.assignment import assign_devices
from rbln_supervisor.core.workers.desired_state import DesiredState, next_removal, reconcile
from rbln_supervisor.core.workers.held_devices import absent_devices, retained_devices
from rbln_worker.contract.device import Device, DeviceId, Network
from rbln_worker.contract.health import HealthPolicy
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.contract.pool import DraExport, PoolName
from rbln_worker.core.health.device_health import desired_state_evidence
from rbln_worker.core.health.observation import Bad
from tests.unit.inventory import ETHER, config, node, npu, pool, vf

A = PoolName("x.io/a")
GRACE_S = 300.0
NPUS = config(pool("a", "accelerator", SelectorObject(vendors=("1eff",))))
NICS = config(pool("a", "netDevice", SelectorObject(link_types=("ether",))))
NPU, VF = npu().bdf, DeviceId("0000:3b:02.0")
ID = DeviceId(NPU)


def turn(
    before: DesiredState | None,
    found: NodeInventory,
    *held: str,
    now: float = 0.0,
    configured: NodeConfig = NPUS,
) -> DesiredState:
    """The roster of pool a after one more look, while pods hold these devices."""
    first = configured.pools[0]
    ids = [DeviceId(one) for one in held]
    assigned = assign(configured.pools, found)
    present = {**assigned.devices[A], **retained_devices(first, found, ids, assigned.taken)}
    before = before or DesiredState(first.spec)
    before = msgspec.structs.replace(before, in_use=absent_devices(first, ids))
    return reconcile(before, first, present, assigned.taken, found, now=now, grace_s=GRACE_S)


def test_a_device_that_a_pod_holds_stays_beyond_the_grace_time() -> None:
    roster = turn(turn(None, node(npu()), NPU), node(), NPU)
    roster = turn(roster, node(), NPU, now=GRACE_S + 1)
    assert roster.devices[ID].gone == "unplugged"
    assert next_removal(roster, GRACE_S) is None
    assert turn(roster, node(), now=GRACE_S + 2).devices == {}


def test_it_keeps_its_grace_time_when_the_pod_ends_early() -> None:
    roster = turn(turn(turn(None, node(npu()), NPU), node(), NPU), node(), now=1.0)
    assert roster.devices[ID].gone == "unplugged"
    assert next_removal(roster, GRACE_S) == GRACE_S


def test_one_that_was_never_seen_is_in_the_first_list_and_leaves_with_the_pod() -> None:
    roster = turn(None, node(), NPU)
    assert roster.devices[ID].gone == "unplugged"
    assert next_removal(roster, GRACE_S) is None
    assert turn(roster, node()).devices == {}


def test_one_that_was_never_seen_comes_back() -> None:
    roster = turn(turn(None, node(), NPU), node(npu()), NPU)
    assert roster.devices[ID].gone is None
    assert roster.devices[ID].function.product == npu().product


def test_one_without_a_driver_says_so() -> None:
    roster = turn(None, node(npu(driver=None)), NPU)
    assert roster.devices[ID].gone == "no driver is bound to it"


def test_another_pools_device_is_not_listed_twice() -> None:
    both = config(
        pool("b", "accelerator", SelectorObject(vendors=("1eff",))),
        pool("a", "accelerator", SelectorObject(vendors=("1eff",))),
    )
    assigned = assign(both.pools, node(npu()))
    first = both.pools[1]
    before = DesiredState(first.spec, in_use=absent_devices(first, [ID]))
    roster = reconcile(before, first, {}, assigned.taken, node(npu()), now=0.0, grace_s=GRACE_S)
    assert roster.devices == {}


@pytest.mark.parametrize(
    "wrong", ["", "gpu-0", "../../etc/passwd", "0000:20:00.8", "mlx5_core.sf.1", "0000:20:00.0\n"]
)
def test_an_id_that_this_pool_could_not_have_given_is_not_listed(wrong: str) -> None:
    assert turn(None, node(), wrong).devices == {}


def test_a_function_whose_interface_is_in_a_pod_stays_in_its_pool() -> None:
    gone = Network()
    function = vf(0, network=gone)
    assert turn(None, node(function), configured=NICS).devices == {}
    roster = turn(None, node(function), VF, configured=NICS)
    assert roster.devices[VF].gone is None
    assert roster.devices[VF].function == function


def test_one_that_can_be_seen_and_does_not_match_is_gone() -> None:
    function = vf(0, network=msgspec.structs.replace(ETHER, interfaces=("e0",), link_type="x"))
    roster = turn(None, node(function), VF, configured=NICS)
    assert roster.devices[VF].gone == "the pool's linkTypes reject it, it has x"


def test_rdma_devices_in_a_pods_namespace() -> None:
    configured = config(pool("a", "netDevice", SelectorObject(is_rdma=True)))
    function = vf(0, network=msgspec.structs.replace(ETHER, interfaces=("e0",)))
    assert turn(None, node(function), configured=configured).devices == {}
    assert turn(None, node(function), VF, configured=configured).devices[VF].gone is None


def test_a_device_that_left_by_the_configuration_stays_while_a_pod_holds_it() -> None:
    roster = turn(None, node(npu()), NPU)
    other = config(pool("a", "accelerator", SelectorObject(devices=("ffff",))))
    after = turn(roster, node(npu()), NPU, configured=other)
    expected = f"the pool's devices reject it, it has {npu().product}"
    assert after.devices[ID].gone == expected
    # once it is gone for that reason it has a grace time like any other
    assert turn(after, node(npu()), now=GRACE_S, configured=other).devices == {}


def entries(*holders: PodDevice, dra: DraExport | None = None) -> str:
    """The reason why the NPU of pool a may not be given to others."""
    first = NPUS.pools[0]
    exported = msgspec.structs.replace(first, spec=msgspec.structs.replace(first.spec, dra=dra))
    after = assign_devices(
        config(exported), node(npu()), LinkTable(), holders, {A: None}, now=0.0, grace_s=GRACE_S
    )
    return after[A].devices[ID].held


BY_PLUGIN = PodDevice("x.io/a", NPU, namespace="ml", pod="p")
BY_CLAIM = PodDevice("x.io/a", NPU, namespace="ml", pod="p", claim="ml/c")
OF_OTHER_DRIVER = msgspec.structs.replace(BY_CLAIM, resource="npu.x.io")


def test_a_device_that_a_pod_holds_by_another_export_is_kept_from_others() -> None:
    dra = DraExport("a.x.io")
    assert entries(BY_PLUGIN) == entries() == ""
    assert entries(BY_CLAIM) == "pod ml/p (claim ml/c) holds it as x.io/a"
    assert entries(OF_OTHER_DRIVER) == "pod ml/p (claim ml/c) holds it as npu.x.io"
    assert entries(BY_CLAIM, dra=dra) == entries(dra=dra) == ""
    assert entries(BY_PLUGIN, dra=dra) == "pod ml/p holds it as x.io/a"
    assert entries(OF_OTHER_DRIVER, dra=dra) == entries(OF_OTHER_DRIVER)


def test_it_is_unhealthy_for_the_kubelet_and_the_scheduler() -> None:
    function = npu()
    device = Device(ID, function, held="pod ml/p holds it as x.io/a")
    evidence = desired_state_evidence(device, HealthPolicy())
    assert evidence == Bad("pods", "pod ml/p holds it as x.io/a")


def test_devices_under_names_of_others_are_reported() -> None:
    listed = {A: {NPU}}
    elsewhere = msgspec.structs.replace(OF_OTHER_DRIVER, device="0000:99:00.0")
    assert devices_under_other_names([BY_PLUGIN, BY_CLAIM, elsewhere], listed) == {}
    assert devices_under_other_names([OF_OTHER_DRIVER, BY_PLUGIN], listed) == {"npu.x.io": (NPU,)}


def test_claims_of_a_configured_driver_are_those_of_its_pool() -> None:
    claim = msgspec.structs.replace(BY_CLAIM, resource="a.x.io")
    same = msgspec.structs.replace(BY_PLUGIN, resource="a.x.io")
    assert with_pool_names((claim, same, OF_OTHER_DRIVER), {"a.x.io": A}) == (
        BY_CLAIM,
        same,
        OF_OTHER_DRIVER,
    )
