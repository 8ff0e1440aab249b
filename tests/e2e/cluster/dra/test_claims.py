"""Claims of every form, and what the containers of their pods really get."""

import json
from collections import Counter
from time import monotonic
from typing import Final

import pytest

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.dra.claims import Claims, Slices, wait_until
from tests.e2e.cluster.dra.deployed import (
    CLASS,
    DRIVER,
    NPU,
    PCIE_ROOT,
    bdf_of,
    npu_paths,
    paths_of,
)
from tests.e2e.cluster.dra.objects import attribute, exactly, prioritized, request, results
from tests.e2e.cluster.node import LET_THROUGH, REFUSED, HostNode
from tests.e2e.cluster.setting import at_least
from tests.system.scene import VM

METADATA: Final = "/var/run/kubernetes.io/dra-device-attributes"
FOUR_AT_MOST: Final = 4


@pytest.mark.by_release
def test_a_pod_with_a_claim_has_its_devices_and_no_others(
    driver: DaemonSet, claims: Claims, bench: Bench, node: HostNode
) -> None:
    claim = claims.claim(request("npus", CLASS, 2))
    pod = claims.pod(claim=claim, limits={VM: 1})
    container = pod.running()
    devices = claims.devices(claim)
    assert len(devices) == 2
    assert npu_paths(container) == paths_of(node, devices)
    for path in npu_paths(container):
        assert container.devices()[path] == node.number(path)
        assert container.opening(path) == LET_THROUGH
    others = paths_of(node, [name for name in _all(driver) if name not in devices])
    for path in others:
        number = node.number(path)
        container.run("mknod", path, "c", str(number >> 8), str(number & 0xFF))
        assert container.opening(path) == REFUSED
    text = container.run("cat", f"{METADATA}/resourceclaims/{claim}/npus/{DRIVER}-metadata.json")
    assert {bdf_of(device) for device in devices} <= set(text.replace('"', " ").split())
    bench.report.add(
        "pod with a ResourceClaim of 2 NPUs, and 1 of rebellions.ai/VM by the device-plugin API",
        "its nodes by CDI and no others, metadata file with the PCI addresses",
        pod.seconds,
    )


@pytest.mark.by_release
def test_a_template_selects_by_the_vendors_attributes_and_one_pcie_root(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench, node: HostNode
) -> None:
    chosen = f'device.attributes["{DRIVER}"].productName == "RBLN-CA22"'
    template = claims.template(
        request("npus", CLASS, 2, where=chosen),
        constraints=[{"requests": ["npus"], "matchAttribute": PCIE_ROOT}],
    )
    # One device of the first root is taken, so that the first two that are free do not match.
    single = claims.claim(request("one", CLASS))
    claims.pod(claim=single).running()
    pod = claims.pod(template=template)
    container = pod.running()
    claim = pod.claim_name("npus")
    devices = claims.devices(claim)
    published = slices.devices()
    assert len({attribute(published[name], PCIE_ROOT) for name in devices}) == 1
    assert npu_paths(container) == paths_of(node, devices)
    path = f"{METADATA}/resourceclaimtemplates/npus/npus/{DRIVER}-metadata.json"
    stream = [json.loads(line) for line in container.run("cat", path).splitlines()]
    assert {one["metadata"]["name"] for one in stream} == {claim}
    bench.report.add(
        "pod with a ResourceClaimTemplate: CEL on productName, matchAttribute pcieRoot",
        "2 NPUs below one PCIe root",
        pod.seconds,
    )


@pytest.mark.by_release
def test_a_prioritized_list_takes_what_the_node_has(
    driver: DaemonSet, claims: Claims, bench: Bench, node: HostNode
) -> None:
    product = f'device.attributes["{DRIVER}"].productName == "RBLN-'
    claim = claims.claim(
        prioritized(
            "npus",
            exactly(CLASS, where=f'{product}CR03"'),
            exactly(CLASS, 2, where=f'{product}CA22"'),
        )
    )
    container = claims.pod(claim=claim).running()
    (names,) = ({result["request"] for result in results(claims.get(claim))},)
    assert names == {"npus/s1"}
    assert npu_paths(container) == paths_of(node, claims.devices(claim))
    bench.report.add(
        "a prioritized list: 1 RBLN-CR03, or 2 RBLN-CA22", "2 RBLN-CA22 (the node has no other)"
    )


@pytest.mark.by_release
def test_admin_access_shares_the_devices_of_a_running_pod(
    driver: DaemonSet, claims: Claims, bench: Bench, node: HostNode
) -> None:
    label = "resource.kubernetes.io/admin-access"
    namespace = "/api/v1/namespaces/default"
    holder = claims.pod(claim=claims.claim(request("all", CLASS, FOUR_AT_MOST)))
    container = holder.running()
    bench.cluster.api.merge(namespace, {"metadata": {"labels": {label: "true"}}})
    try:
        claim = claims.claim(request("watch", CLASS, FOUR_AT_MOST, adminAccess=True))
        admin = claims.pod(claim=claim)
        with bench.untouched(container):
            assert npu_paths(admin.running()) == npu_paths(container)
            admin.delete()
        assert len(npu_paths(container)) == FOUR_AT_MOST
    finally:
        bench.cluster.api.merge(namespace, {"metadata": {"labels": {label: None}}})
    bench.report.add(
        "adminAccess to NPUs that a pod holds", "both have the nodes, and the pod ran on"
    )


def test_pods_share_a_claim_until_the_last_one_ends(
    driver: DaemonSet, claims: Claims, bench: Bench, node: HostNode
) -> None:
    claim = claims.claim(request("npus", CLASS, 2))
    first, second = claims.pod(claim=claim), claims.pod(claim=claim)
    containers = [first.running(), second.running()]
    assert (
        npu_paths(containers[0])
        == npu_paths(containers[1])
        == paths_of(node, claims.devices(claim))
    )
    first.delete()
    assert containers[1].untouched()
    third = claims.pod(claim=claim).running()
    assert npu_paths(third) == npu_paths(containers[1])


def test_a_container_that_is_started_again_has_the_same_devices(
    driver: DaemonSet, claims: Claims, bench: Bench
) -> None:
    template = claims.template(request("npus", CLASS, 2))
    pod = claims.pod(template=template, restartPolicy="Always")
    former = pod.running()
    paths = npu_paths(former)
    bench.cluster.kill_container(former.id)
    assert npu_paths(pod.restarted(former)) == paths


@pytest.mark.skipif(not at_least(36), reason="extended resources by DRA are off before 1.36")
def test_an_ordinary_pod_is_served_through_the_device_class(
    driver: DaemonSet, claims: Claims, bench: Bench, node: HostNode
) -> None:
    pod = claims.pod(limits={NPU: 2})
    container = pod.running()
    status = pod.status["extendedResourceClaimStatus"]
    devices = claims.devices(status["resourceClaimName"])
    assert len(devices) == 2
    assert npu_paths(container) == paths_of(node, devices)
    bench.report.add(
        f"an ordinary pod with {NPU}: 2", "served by DRA through the DeviceClass", pod.seconds
    )


def test_parameters_that_are_wrong_are_an_error_in_the_pods_events(
    driver: DaemonSet, claims: Claims, bench: Bench
) -> None:
    opaque = {"driver": DRIVER, "parameters": {"nobodyKnowsThis": True}}
    claim = claims.claim(request("npus", CLASS), config=[{"opaque": opaque}])
    pod = claims.pod(claim=claim)
    wait_until(
        lambda: "nobodyKnowsThis" in claims.describe("pod", pod.name),
        what="kubectl describe pod names the key",
    )
    lines = [
        line.strip() for line in claims.describe("pod", pod.name).splitlines() if DRIVER in line
    ]
    bench.report.add("a claim with an unknown parameter for the driver", lines[-1][-300:])


def test_parameters_of_other_drivers_are_none_of_its_business(
    driver: DaemonSet, claims: Claims
) -> None:
    opaque = {"driver": "other.example.com", "parameters": {"nobodyKnowsThis": True}}
    claim = claims.claim(request("npus", CLASS), config=[{"opaque": opaque}])
    assert len(npu_paths(claims.pod(claim=claim).running())) == 1


def test_pods_come_and_go_and_no_npu_is_in_two(
    driver: DaemonSet, claims: Claims, bench: Bench
) -> None:
    template = claims.template(request("npu", CLASS))
    seen: Counter[str] = Counter()
    began = monotonic()
    for _ in range(3):
        pods = [claims.pod(template=template) for _ in range(FOUR_AT_MOST)]
        paths = [path for pod in pods for path in npu_paths(pod.running())]
        assert len(paths) == len(set(paths)) == FOUR_AT_MOST
        seen.update(paths)
        for pod in pods:
            pod.delete()
    assert set(seen.values()) == {3}
    bench.report.add("3 times 4 pods of a template", "each NPU once a time", monotonic() - began)


def _all(driver: DaemonSet) -> set[str]:
    devices = driver.status().pools[NPU].devices
    return {bdf.replace(":", "-").replace(".", "-") for bdf in devices}
