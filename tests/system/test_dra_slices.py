"""ResourceSlices of a DRA pool: real supervisor and worker, an API server, a kubelet."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rbln_worker.core.dra.attributes import quantity_text
from tests.sim.drivers import DRAM_BYTES, KMD
from tests.system.dra_stack import DraStack
from tests.system.scene import ATOM, ATOM_POOL, ATOMS, VM, VM_POOL, config, eventually, served

pytestmark = pytest.mark.system

Devices = dict[str, dict[str, Any]]
NAMES = [bdf.replace(":", "-").replace(".", "-") for bdf in ATOMS]


@pytest.fixture(scope="module")
def running() -> Iterator[DraStack]:
    with DraStack() as stack:
        yield stack


@pytest.fixture
def stack(running: DraStack) -> DraStack:
    """All NPUs are published, without taints."""
    served(running, VM)
    published(running, lambda now: [*now] == NAMES and not any(map(taints, now.values())))
    return running


def devices(stack: DraStack) -> Devices:
    return {one["name"]: one for part in stack.slices() for one in part["spec"].get("devices", ())}


def taints(device: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["value"], one["effect"]) for one in device.get("taints", ())]


def published(stack: DraStack, condition: Callable[[Devices], object]) -> None:
    eventually(lambda: condition(devices(stack)), what="the slices are so")


def test_a_slice_says_what_the_driver_says_of_its_npus(stack: DraStack) -> None:
    device = devices(stack)[NAMES[0]]
    said = {name: next(iter(value.values())) for name, value in device["attributes"].items()}
    assert said["resource.kubernetes.io/pciBusID"] == ATOMS[0]
    assert said["driverVersion"] == KMD
    assert said["productName"] == "RBLN-CA12"
    assert said["resourcePool"] == ATOM
    assert device["capacity"] == {"memory": {"value": quantity_text(DRAM_BYTES)}}


def test_a_fault_is_a_taint_until_it_is_over(stack: DraStack) -> None:
    stack.node.set_status("rbln1", 3)
    published(stack, lambda now: taints(now[NAMES[1]]) == [("npu-status", "NoSchedule")])
    stack.node.set_status("rbln1", 0)
    published(stack, lambda now: not taints(now[NAMES[1]]))


def test_an_unplugged_npu_stays_with_a_taint(stack: DraStack) -> None:
    (unplugged,) = (one for bdf, one in stack.node.devices.items() if bdf == ATOMS[2])
    stack.node.remove(ATOMS[2])
    stack.ctl("rescan")
    published(stack, lambda now: taints(now[NAMES[2]]) == [("sysfs", "NoSchedule")])
    stack.node.add(unplugged)
    stack.ctl("rescan")
    published(stack, lambda now: not taints(now[NAMES[2]]))


def test_slices_that_the_kubelet_wipes_at_its_start_are_made_again(stack: DraStack) -> None:
    before = {one["metadata"]["uid"] for one in stack.slices()}
    stack.kubelet.restart()
    eventually(
        lambda: (
            [*devices(stack)] == NAMES
            and before.isdisjoint(one["metadata"]["uid"] for one in stack.slices())
        ),
        what="all slices are new ones",
    )


def test_slices_stay_while_a_worker_is_replaced(stack: DraStack) -> None:
    before = [one["metadata"]["resourceVersion"] for one in stack.slices()]
    worker = stack.workers()[ATOM]
    asked = len(stack.api.requests)
    os.kill(worker, signal.SIGKILL)
    eventually(
        lambda: any("watch" in one.query for one in stack.api.requests[asked:]),
        what="the next worker watches",
    )
    stack.node.set_status("rbln0", 3)
    published(stack, lambda now: taints(now[NAMES[0]]))
    stack.node.set_status("rbln0", 0)
    published(stack, lambda now: not taints(now[NAMES[0]]))
    writes = [one.verb for one in stack.api.requests[asked:] if one.verb != "GET"]
    assert set(writes) == {"PUT"}
    assert len(before) == len(stack.slices())


def test_a_pool_that_leaves_dra_withdraws_its_slices(stack: DraStack) -> None:

    stack.write_config(config(ATOM_POOL, VM_POOL))
    assert stack.ctl("reload").returncode == 0
    eventually(lambda: not stack.slices(), what="the slices are gone")
    served(stack, ATOM, VM)
