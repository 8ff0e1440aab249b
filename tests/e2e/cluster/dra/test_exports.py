"""A pool moves from one export to the other, while pods run."""

from time import monotonic

import pytest

from rbln_worker.contract.problem import Code
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.dra.claims import Claims, Slices, wait_until
from tests.e2e.cluster.dra.deployed import (
    CLASS,
    NPU,
    both_exports,
    configure,
    device_names,
    npu_paths,
    plugins_only,
)
from tests.e2e.cluster.dra.objects import request
from tests.e2e.cluster.setting import at_least
from tests.system.scene import VM


def test_an_export_does_not_change_under_pods(
    driver: DaemonSet, claims: Claims, bench: Bench
) -> None:
    container = claims.pod(template=claims.template(request("npus", CLASS, 2))).running()
    with bench.untouched(container):
        configure(driver, plugins_only())
        driver.wait(lambda: _refusals(driver), what="the reload is refused: pods hold NPUs")
        said = _refusals(driver)
        configure(driver, both_exports())
        driver.wait(lambda: not _refusals(driver), what="all is as it was")
    bench.report.add("kubectl edit configmap: the export of a pool that pods use", said[0])


@pytest.mark.skipif(not at_least(36), reason="extended resources by DRA are off before 1.36")
def test_a_resource_moves_from_the_device_plugin_to_dra_while_pods_run(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench
) -> None:
    vms = bench.pod({VM: 1}).running()
    with bench.untouched(vms, resources=(VM,)):
        configure(driver, plugins_only())
        bench.history.wait_for(NPU, 4, 4)
        wait_until(lambda: not slices.read(), what="the slices are gone")
        pod = bench.pod({NPU: 2}, scheduled=True)
        container = pod.running()
        held = npu_paths(container)
        configure(driver, both_exports())
        driver.wait(lambda: _refusals(driver), what="the reload is refused: a pod has NPUs")
        began = monotonic()
        with bench.untouched(container):
            driver.ctl("reload", "--force")
            slices.wait(
                lambda devices: (
                    set(devices) == device_names()
                    and sum(bool(one.get("taints")) for one in devices.values()) == len(held)
                ),
                what="slices are there, with taints for what the pod has",
            )
            bench.history.wait(
                NPU, lambda count: count.allocatable == 0, what="no plugin offers it"
            )
            seconds = monotonic() - began
            again = claims.pod(limits={NPU: 2})
            assert len(npu_paths(again.running()) | held) == 4
        pod.delete()
        slices.wait(
            lambda devices: not any(one.get("taints") for one in devices.values()),
            what="no taints any more",
        )
    bench.report.add(
        f"{NPU} moves from the device plugin to DRA while a pod has 2 of 4",
        "refused; by reload --force: the pod ran on, another one like it got the other 2 by DRA, "
        "the other pool's pod ran on",
        seconds,
    )


def _refusals(driver: DaemonSet) -> list[str]:
    """Why the last reload was refused."""
    problems = driver.status().supervisor.problems
    return [one.text for one in problems if one.code is Code.RELOAD_REFUSED]
