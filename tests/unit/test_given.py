"""Nodes that pods were given, against those that devices have now."""

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.given import Given, select_given

POOL = PoolName("rebellions.ai/ATOM")
A, B = DeviceId("0000:20:00.0"), DeviceId("0000:21:00.0")


def holds(device: str, *paths: str, resource: str = POOL, pod: str = "bare") -> PodDevice:
    return PodDevice(resource, device, "default", pod, "main", f"uid-{pod}", paths=paths)


def occupied(known: Given, device: DeviceId, *nodes: str, shared: bool = False) -> str:
    return known.occupied_reason(device, nodes, lambda _device, _path: shared)


def test_a_device_that_nobody_holds_has_not_moved() -> None:
    assert select_given(POOL, []).moved_reason(A, ["/dev/rbln0"]) == ""


def test_a_device_with_the_node_that_was_given_has_not_moved() -> None:
    known = select_given(POOL, [holds(A, "/dev/rbln0")])
    assert known.moved_reason(A, ["/dev/rbln0", "/dev/rsd0"]) == ""
    assert occupied(known, A, "/dev/rbln0", "/dev/rsd0") == ""


def test_a_device_with_another_node_has_moved() -> None:
    known = select_given(POOL, [holds(A, "/dev/rbln2")])
    expected = "was /dev/rbln2 for pod default/bare, is /dev/rbln1 now"
    assert known.moved_reason(A, ["/dev/rbln1", "/dev/rsd0"]) == expected
    expected = "was /dev/rbln2 for pod default/bare, is not there now"
    assert known.moved_reason(A, ["/dev/rsd0"]) == expected


def test_the_first_of_several_nodes_that_is_another_one_is_named() -> None:
    known = select_given(POOL, [holds(A, "/dev/infiniband/umad3", "/dev/infiniband/uverbs3")])
    nodes = ["/dev/infiniband/rdma_cm", "/dev/infiniband/umad3", "/dev/infiniband/uverbs1"]
    expected = "was /dev/infiniband/uverbs3 for pod default/bare, is /dev/infiniband/uverbs1 now"
    assert known.moved_reason(A, nodes) == expected


def test_a_node_that_a_pod_has_is_given_to_nobody_else() -> None:
    known = select_given(POOL, [holds(A, "/dev/rbln2")])
    expected = f"its node /dev/rbln2 was given to pod default/bare as device {A}"
    assert occupied(known, B, "/dev/rbln2", "/dev/rsd0") == expected


def test_nor_by_another_pool() -> None:
    known = select_given(POOL, [holds(A, "/dev/rbln2", resource="rebellions.ai/OTHER")])
    assert known.holders == {}
    assert occupied(known, B, "/dev/rbln2") != ""


def test_devices_of_an_iommu_group_share_its_node() -> None:
    known = select_given(POOL, [holds(A, "/dev/vfio/7")])
    assert occupied(known, B, "/dev/vfio/7", "/dev/vfio/vfio", shared=True) == ""
    assert occupied(known, B, "/dev/vfio/7", "/dev/vfio/vfio") != ""
    assert (
        occupied(select_given(POOL, [holds(A, "/dev/rbln2")]), B, "/dev/rbln2", shared=True) != ""
    )


def test_a_pod_of_which_only_the_uid_is_known() -> None:
    known = select_given(POOL, [PodDevice(POOL, A, uid="u-1", paths=("/dev/rbln2",))])
    assert known.moved_reason(A, ["/dev/rbln1"]) == "was /dev/rbln2 for pod u-1, is /dev/rbln1 now"
