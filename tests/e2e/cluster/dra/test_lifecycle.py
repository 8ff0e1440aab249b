"""Updates, deaths, removal and reboots."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from tests.e2e.cluster import reboot
from tests.e2e.cluster.api import NotFoundError
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import NAME, NAMESPACE, DaemonSet
from tests.e2e.cluster.dra.claims import POLL_INTERVAL_S, Claims, Slices, wait_until
from tests.e2e.cluster.dra.deployed import (
    CLASS,
    NPU,
    both_exports,
    configure,
    device_names,
    dra_overlay,
    failed_prepares,
    npu_paths,
    paths_of,
    prepared_claims,
)
from tests.e2e.cluster.dra.objects import CLAIMS, request
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.setting import KUBELET_DIR
from tests.system.scene import VM_POOL, config


@contextmanager
def sockets_at_once() -> Iterator[set[int]]:
    """Collect the numbers of sockets that the pool had at the same time, until the block ends."""
    numbers: set[int] = set()
    over = threading.Event()

    def count_sockets() -> None:
        while not over.wait(POLL_INTERVAL_S):
            numbers.add(len([*(KUBELET_DIR / "plugins_registry").glob("rebellions.ai_npu-*.sock")]))

    thread = threading.Thread(target=count_sockets)
    thread.start()
    try:
        yield numbers
    finally:
        over.set()
        thread.join()


@pytest.mark.by_release
def test_an_update_leaves_no_gap(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench
) -> None:
    # A pod that is not Ready is replaced without the overlap of maxSurge.
    driver.wait_ready(since=0.0)
    template = claims.template(request("npu", CLASS))
    held = claims.pod(template=template).running()
    uids = {one["metadata"]["uid"] for one in slices.read()}
    before, said = driver.pod(), failed_prepares(bench)
    slowest = 0.0
    with bench.untouched(held), sockets_at_once() as sockets:
        driver.kubectl("rollout", "restart", f"daemonset/{NAME}", "--namespace", NAMESPACE)
        while not driver.has_one_ready_pod(after=before):
            pod = claims.pod(template=template)
            pod.running()
            slowest = max(slowest, pod.seconds)
            pod.delete()
            assert set(slices.devices()) == device_names()
    assert failed_prepares(bench) == said
    assert max(sockets) == 2
    assert {one["metadata"]["uid"] for one in slices.read()} == uids
    bench.report.add(
        "kubectl rollout restart",
        f"two sockets for a while; pods with claims made meanwhile all ran, the slowest after "
        f"{slowest:.2f} s; the slices stayed",
        slowest,
    )


def test_a_killed_worker_costs_no_slice_and_no_claim(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench
) -> None:
    template = claims.template(request("npu", CLASS))
    held = claims.pod(template=template)
    container = held.running()
    uids = {one["metadata"]["uid"] for one in slices.read()}
    worker = driver.status().pools[NPU].worker.pid
    began = monotonic()
    with bench.untouched(container):
        assert driver.run("sh", "-c", f"kill -9 {worker}").returncode == 0
        claims.pod(template=template).running()
        seconds = monotonic() - began
    held.delete()
    assert {one["metadata"]["uid"] for one in slices.read()} == uids
    bench.report.add("a DRA worker is killed", "the next claim's pod runs; slices stay", seconds)


@pytest.mark.by_release
def test_a_claim_that_is_gone_is_unprepared_without_it(
    driver: DaemonSet, claims: Claims, bench: Bench
) -> None:
    claim = claims.claim(request("npus", CLASS, 2))
    pod = claims.pod(claim=claim)
    pod.running()
    path = f"{CLAIMS}/{claim}"
    bench.cluster.api.call("DELETE", path)
    bench.cluster.api.merge(path, {"metadata": {"finalizers": None}})
    wait_until(lambda: _is_gone(bench, path), what="the claim is gone, by force")
    began = monotonic()
    pod.delete()
    seconds = monotonic() - began
    driver.wait(lambda: not prepared_claims(driver), what="it is forgotten")
    claims.pod(template=claims.template(request("npus", CLASS, 4))).running()
    bench.report.add(
        "a claim is deleted by force under its pod", "the pod ends, its NPUs are free", seconds
    )


def test_pods_of_a_removed_driver_run_on_and_end_when_it_is_back(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench, cluster: Cluster
) -> None:
    pod = claims.pod(template=claims.template(request("npus", CLASS, 2)))
    container = pod.running()
    with bench.untouched(container):
        driver.remove()
        # The kubelet deletes the slices of a driver 30 s after its last socket has gone.
        gone = wait_until(lambda: not slices.read(), what="the slices are gone", within_s=60.0)
    bench.cluster.api.call("DELETE", pod.path)
    wait_until(lambda: not container.untouched(), what="the container has ended")
    vm_only = dra_overlay(cluster.places.state / "vm-only", config(VM_POOL))
    driver.wait_ready(since=driver.apply(vm_only))
    assert pod.exists
    done = driver.run("rbln-ctl", "doctor")
    assert done.returncode != 0, done.stdout
    assert pod.name in done.stdout
    said = [line.strip() for line in done.stdout.splitlines() if pod.name in line]
    began = monotonic()
    configure(driver, both_exports())
    pod.delete()
    seconds = monotonic() - began
    bench.report.add(
        "kubectl delete daemonset while a pod has a claim",
        f"the pod ran on, slices gone after {gone:.0f} s; deleted, it waits. rbln-ctl doctor of a "
        f"plugin without the pool: {said[0]}",
    )
    bench.report.add("… and the pool is configured again", "the pod ends", seconds)


def test_a_reboot_with_an_emptied_cdi_folder(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench, node: HostNode
) -> None:
    claim = claims.claim(request("npus", CLASS, 2))
    pod = claims.pod(claim=claim, restartPolicy="Always")
    former = pod.running()
    reboot.power_off(bench.cluster, clean=False)
    reboot.power_on(bench.cluster)
    began = monotonic()
    container = pod.restarted(former, deadline_s=120.0)
    seconds = monotonic() - began
    assert npu_paths(container) == paths_of(node, claims.devices(claim))
    driver.wait_ready(since=0.0)
    slices.wait(lambda devices: set(devices) == device_names(), what="slices are there again")
    bench.report.add(
        "reboot (a power cut), CDI folder empty: a pod with a claim", "runs again in place", seconds
    )


def _is_gone(bench: Bench, path: str) -> bool:
    try:
        bench.cluster.api.call("GET", path)
    except NotFoundError:
        return True
    return False
