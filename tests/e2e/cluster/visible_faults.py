"""Faults that the on-call engineer sees in the cluster, and what has to be seen of each."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.events.reasons import EventReason
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.prometheus import Prometheus
from tests.sim.device import Rdma, SimDevice
from tests.system.scene import ATOM, ATOM_POOL, ATOMS, VM_POOL, config, pool

HCA: Final = SimDevice(
    bdf="0000:41:00.0",
    vendor="15b3",
    device="1017",
    code="020700",
    driver="mlx5_core",
    rdma=Rdma("mlx5_0", 0, "InfiniBand"),
)
IB: Final = "rebellions.ai/IB"
IB_POOL: Final = pool("IB", deviceType="netDevice", vendors=["15b3"])
_DRIVER: Final = "rebellions"


class Scene(NamedTuple):
    """What faults are injected into, and where they are seen."""

    node: HostNode
    installed: DaemonSet
    kubectl: Kubectl
    prometheus: Prometheus
    npus: Mapping[str, SimDevice]
    """As they are before a fault."""


class Fault(NamedTuple):
    """A fault, and what has to be seen of it."""

    text: str
    inject: Callable[[Scene], object]
    mend: Callable[[Scene], object]
    code: str
    """Of a problem in ``kubectl rbln doctor``."""
    word: str
    """Of the problem's text or evidence."""
    alert: str
    reason: EventReason
    """Of the Event on the node, and on the pod if it is of devices."""


def _rescan(scene: Scene) -> None:
    """Stand in for the kernel's event, which a simulated device does not have."""
    scene.installed.ctl("rescan")


def _unplug(scene: Scene) -> None:
    scene.node.remove(ATOMS[3])
    _rescan(scene)


def _plug_in(scene: Scene) -> None:
    scene.node.add(scene.npus[ATOMS[3]])
    _rescan(scene)


def _unbind(*devices: str) -> Callable[[Scene], object]:
    def unbind(scene: Scene) -> None:
        for device in devices:
            scene.node.unbind(device)
        _rescan(scene)

    return unbind


def _bind(*devices: str) -> Callable[[Scene], object]:
    def bind(scene: Scene) -> None:
        for device in devices:
            scene.node.bind(device, _DRIVER)
        _rescan(scene)

    return bind


def _kill_worker_thrice(scene: Scene) -> None:
    for _ in range(3):
        before = scene.installed.status().pools[ATOM].worker.pid
        assert scene.installed.run("sh", "-c", f"kill -9 {before}").returncode == 0

        def serves_again(before: int | None = before) -> bool:
            now = scene.installed.status().pools[ATOM]
            return now.state == "serving" and now.worker.pid not in {None, before}

        scene.installed.wait(serves_again, what="another worker serves")


def _set_status(number: int) -> Callable[[Scene], object]:
    return lambda scene: scene.node.set_status("rbln2", number)


def _set_port(state: str) -> Callable[[Scene], object]:
    return lambda scene: scene.node.set_port(HCA.bdf, "mlx5_0", "state", state)


def _configure(text: str) -> Callable[[Scene], object]:
    return lambda scene: scene.installed.configure(text)


GOOD: Final = msgspec.json.encode(config(ATOM_POOL, VM_POOL, IB_POOL)).decode()

FAULTS: Final = (
    Fault(
        "an NPU in a pod is unplugged",
        _unplug,
        _plug_in,
        "device-unhealthy",
        ATOMS[3],
        "RblnDeviceUnhealthy",
        EventReason.DEVICE_UNHEALTHY,
    ),
    Fault(
        "an NPU reports FAULT",
        _set_status(3),
        _set_status(0),
        "device-unhealthy",
        "FAULT",
        "RblnDeviceUnhealthy",
        EventReason.DEVICE_UNHEALTHY,
    ),
    Fault(
        "an NPU's driver is unbound",
        _unbind(ATOMS[1]),
        _bind(ATOMS[1]),
        "driver-missing",
        ATOMS[1],
        "RblnDeviceUnhealthy",
        EventReason.DEVICE_UNHEALTHY,
    ),
    Fault(
        "an InfiniBand port loses its link",
        _set_port("1: DOWN\n"),
        _set_port("4: ACTIVE\n"),
        "device-unhealthy",
        HCA.bdf,
        "RblnDeviceUnhealthy",
        EventReason.DEVICE_UNHEALTHY,
    ),
    Fault(
        "a worker is killed three times",
        _kill_worker_thrice,
        lambda _: None,
        "worker-restarted",
        "SIGKILL",
        "RblnWorkerRestarts",
        EventReason.POOL_WORKER_RESTARTED,
    ),
    Fault(
        "a new configuration is refused",
        _configure('{"resourceList": 3}'),
        _configure(GOOD),
        "reload-refused",
        "expected array, got number",
        "RblnReloadRefused",
        EventReason.CONFIGURATION_REFUSED,
    ),
    Fault(
        "the driver is missing: no NPU is bound",
        _unbind(*ATOMS),
        _bind(*ATOMS),
        "driver-missing",
        "4 devices",
        "RblnAllocatableLost",
        EventReason.DEVICE_UNHEALTHY,
    ),
)
