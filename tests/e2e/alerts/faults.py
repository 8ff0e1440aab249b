"""Faults that together make each alert fire: on which node, how caused, how mended."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import grpc

from tests.e2e.alerts.nodes import Node, System
from tests.sim import atomic
from tests.sim.dra_kubelet import Claim, DraKubelet
from tests.sim.nodes import Link, npus
from tests.sim.stack import Stack
from tests.sim.uevents import Injector, pci
from tests.system import faults_around as around
from tests.system import faults_within as within
from tests.system.dra_scene import DRIVER, dra_node, result
from tests.system.scene import ATOM, ATOM_POOL, ATOMS, TWO_POOLS, VM, VM_POOL, config, pool

BAD_POOL: Final = pool("BAD", vendors="1eff")
_WHILE_IT_STARTS: Final = ("RblnNodeNotReady", "RblnAllocatableLost")
"""Alerts of a worker that starts for as long as minutes, which seconds are here."""
_PCI_DEVICES: Final = "sys/bus/pci/devices"

CLAIM: Final = Claim("claim-uid", "training")
MISSING_CLAIM: Final = Claim("missing-uid", "missing")


def _plain(*arguments: str, links: Mapping[str, Link] | None = None) -> System:
    return System(lambda _: Stack(TWO_POOLS, arguments=arguments, links=links))


@contextmanager
def _claims_system(folder: Path) -> Iterator[Stack]:
    """A pool that is exported by DRA, with an API server that has one claim of it."""
    with dra_node(folder) as scene:
        scene.allocate(CLAIM, result(ATOMS[0]))
        yield scene.stack


SYSTEMS: Final[Mapping[str, System]] = {
    "healthy": _plain(),
    "supervisor": _plain(),
    "worker": _plain(),
    "kubelet": _plain(),
    "configuration": System(
        lambda _: Stack(config(ATOM_POOL, VM_POOL, BAD_POOL), arguments=("--use-cdi",))
    ),
    "devices": _plain("--gone-grace", "5", links={}),
    "discovery": _plain("--rescan-interval", "1"),
    "calls": _plain(),
    "claims": System(_claims_system, (VM,)),
}
"""The nodes by name. What takes minutes in the product takes as many seconds here, too: by default
a device that is gone is listed for 5 minutes, and discoveries come each minute."""


class Fault(NamedTuple):
    """What is wrong on a node, and the alerts that have to fire."""

    text: str
    node: str
    alerts: tuple[str, ...]
    inject: Callable[[Node], object]
    mend: Callable[[Node], object] | None = None
    """None: it happened once, and passes."""
    companions: tuple[str, ...] = ()
    """Alerts that may fire on this node as well."""


def _unplug(node: Node) -> None:
    with Injector(node.stack.pid) as tell:
        node.stack.node.remove(ATOMS[3])
        tell(pci("remove", ATOMS[3]))


def _plug_in(node: Node) -> None:
    with Injector(node.stack.pid) as tell:
        node.stack.node.add(npus(4, numa_nodes=2)[3])
        tell(pci("add", ATOMS[3]), pci("bind", ATOMS[3], DRIVER="rebellions"))


def _allocate_unknown(node: Node) -> None:
    try:
        node.stack.kubelet.allocate(ATOM, [["0000:99:00.0"]])
    except grpc.RpcError:
        return
    raise AssertionError("a device that does not exist was allocated")


def _prepare_claims(node: Node) -> None:
    """One claim is prepared, another one does not exist; and the slices change."""
    with DraKubelet(node.stack.kubelet.folder) as kubelet:
        driver = kubelet.wait_driver(DRIVER)
        answer = driver.prepare(CLAIM, MISSING_CLAIM)
    assert answer.claims[CLAIM.uid].error == ""
    assert "404" in answer.claims[MISSING_CLAIM.uid].error
    node.stack.node.set_status("rbln2", 3)


def _kill_thrice(node: Node) -> None:
    for _ in range(3):
        before = node.stack.workers()[ATOM]
        os.kill(before, signal.SIGKILL)
        node.stack.wait_status(
            lambda status, before=before: (  # type: ignore[misc]
                status.pools[ATOM].state == "serving"
                and status.pools[ATOM].worker.pid not in {None, before}
            ),
            what="the next worker serves",
        )


def _hide_devices(node: Node) -> None:
    folder = node.stack.root / _PCI_DEVICES
    folder.rename(folder.with_name("hidden"))


def _show_devices(node: Node) -> None:
    folder = node.stack.root / _PCI_DEVICES
    folder.with_name("hidden").rename(folder)


def _unblock_spec(node: Node) -> None:
    (spec,) = (node.stack.root / "var/run/cdi").glob("*ATOM*")
    atomic.remove(spec)


def _reload_good(node: Node) -> None:
    within.reloaded(ATOM_POOL, VM_POOL)(node.stack)


FAULTS: Final = (
    Fault(
        "the supervisor is killed",
        "supervisor",
        ("RblnSupervisorDown",),
        lambda node: node.stack.kill(),
        lambda node: node.stack.start(),
    ),
    Fault(
        "the kubelet stops and takes its socket along",
        "kubelet",
        ("RblnKubeletAway", "RblnNodeNotReady", "RblnAllocatableLost"),
        lambda node: around.no_kubelet_socket(node.stack),
        lambda node: node.stack.kubelet.start(),
    ),
    Fault(
        "the configuration has an invalid pool",
        "configuration",
        ("RblnPoolInvalid",),
        lambda _: None,  # from the start
        _reload_good,
    ),
    Fault(
        "one NPU is unplugged",
        "devices",
        ("RblnDevicesGone",),
        _unplug,
        _plug_in,
        ("RblnAllocatableLost",),
    ),
    Fault(
        "an NPU is in FAULT",
        "calls",
        ("RblnDeviceUnhealthy",),
        lambda node: node.stack.node.set_status("rbln3", 3),
        lambda node: node.stack.node.set_status("rbln3", 0),
        ("RblnAllocatableLost",),
    ),
    Fault(
        "reads of an NPU's status hang",
        "devices",
        ("RblnHealthChecksHang",),
        lambda node: node.stack.node.hang_status("rbln0"),
        lambda node: node.stack.node.answer_status("rbln0", 0),
        ("RblnAllocatableLost", "RblnDeviceUnhealthy"),
    ),
    Fault("one Allocate is refused", "discovery", ("RblnAllocateFails",), _allocate_unknown),
    Fault(
        "one claim cannot be prepared",
        "claims",
        ("RblnAllocateFails",),
        _prepare_claims,
        lambda node: node.stack.node.set_status("rbln2", 0),
    ),
    Fault(
        "the exporter leaks 300 MB",
        "calls",
        ("RblnMemory",),
        Node.start_leaking_exporter,
        Node.start_lean_exporter,
    ),
    Fault(
        "a worker stands still for 200 ms again and again",
        "calls",
        ("RblnAllocateSlow",),
        Node.starve_worker,
        Node.stop_background,
    ),
    Fault(
        "a worker is killed three times",
        "worker",
        ("RblnWorkerRestarts",),
        _kill_thrice,
        companions=_WHILE_IT_STARTS,
    ),
    Fault(
        "a reload is refused",
        "worker",
        ("RblnReloadRefused",),
        lambda node: within.bad_reload(node.stack),
        _reload_good,
    ),
    Fault(
        "/sys/bus/pci/devices is missing",
        "discovery",
        ("RblnDiscoveriesFail",),
        _hide_devices,
        _show_devices,
        ("RblnDeviceUnhealthy", "RblnAllocatableLost"),
    ),
    Fault(
        "a CDI spec cannot be written",
        "configuration",
        ("RblnFailedWrites",),
        lambda node: within.blocked_spec(node.stack),
        _unblock_spec,
        ("RblnDeviceUnhealthy", *_WHILE_IT_STARTS),
    ),
)
