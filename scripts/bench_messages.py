"""What the kubelet is told: messages by event, and their length by size of the pool.

Real processes on a simulated node, and a simulated kubelet that counts. The node has 16 NPUs (a
card is four of them), and 64 virtual functions for DPDK below one PF with a real link.
docs/fleets.md computes with the counts; they depend on no clock, but for the link that flaps.
"""

import argparse
import os
import signal
from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Final

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.kubelet import translate
from tests.sim import network
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import Link, npus
from tests.sim.stack import Stack

NPUS: Final = "rebellions.ai/ATOM"
VFS: Final = "rebellions.ai/nic_dpdk"
PF: Final = "0000:3b:00.0"
UPLINK: Final = "p0"
SIZES: Final = (16, 64, 256, 1024)
CARD: Final = tuple(f"0000:{0x20 + n:02x}:00.0" for n in range(4))
REST_S: Final = 2.0
"""How long nothing has to come before what came is counted."""
SEEN_WITHIN_S: Final = 60.0
POOLS: Final = {
    "resourceList": [
        {
            "resourceName": "ATOM",
            "resourcePrefix": "rebellions.ai",
            "deviceType": "accelerator",
            "selectors": {"drivers": ["rebellions"]},
        },
        {
            "resourceName": "nic_dpdk",
            "resourcePrefix": "rebellions.ai",
            "selectors": {"drivers": ["vfio-pci"]},
        },
    ]
}


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="bench-messages", description=__doc__)
    parser.add_argument("--flap", type=float, default=60.0, metavar="SECONDS", help="of the link")
    flap_s: float = parser.parse_args().flap
    print("| devices | NPUs or VFs, bytes | sub-functions, bytes |\n|---:|---:|---:|")
    for size in SIZES:
        print(f"| {size} | {length(size):,} | {length(size, sub=True):,} |")
    print(f"\n| what happens | {NPUS} | {VFS} |\n|---|---:|---:|")
    with Stack(POOLS, _build, links={UPLINK: Link(pair=True)}, watch_config=True) as stack:
        counted(stack, "start", lambda: None, {NPUS: 16, VFS: 64}, since=0)
        for what, act, after in events(stack):
            counted(stack, what, act, after)
        peer = network.peer(UPLINK)

        def flap() -> None:
            end = monotonic() + flap_s
            while monotonic() < end:
                network.run(stack.pid, f"ip link set {peer} down")
                sleep(1)
                network.run(stack.pid, f"ip link set {peer} up")
                sleep(1)

        counted(stack, f"the link flaps, 1 s down and 1 s up, for {flap_s:g} s", flap, {})
    return 0


def length(size: int, *, sub: bool = False) -> int:
    """Bytes of a message of a pool of so many healthy devices, each with its NUMA node."""
    devices = (_device(n, sub=sub) for n in range(size))
    pool = PoolSpec("rebellions.ai", "ATOM", "auxNetDevice" if sub else "accelerator")
    return sum(len(translate.list_entry(device, Verdict(healthy=True), pool)) for device in devices)


def _device(number: int, *, sub: bool) -> Device:
    bdf = Bdf(f"0000:{number >> 8:02x}:{(number >> 3) & 31:02x}.{number & 7}")
    function = PciFunction(bdf, "1eff", "1250", 0x12, "rebellions", numa_node=1)
    return Device(DeviceId(f"mlx5_core.sf.{number}" if sub else bdf), function)


def _build(node: SimNode) -> None:
    pf = SimDevice(PF, "8086", "1592", "020000", "i40e", net=(UPLINK,), iommu=1, totalvfs=64)
    node.add(pf, *npus(16, numa_nodes=2))
    node.enable_vfs(PF, 64, driver="vfio-pci")


Act = Callable[[], object]


def events(stack: Stack) -> list[tuple[str, Act, Mapping[str, int]]]:
    """What happens, how it is made to, and what is allocatable then."""
    node, peer = stack.node, network.peer(UPLINK)
    back = npus(16, numa_nodes=2)[:4]

    def unplug() -> None:
        for bdf in CARD:
            node.remove(bdf)
        stack.ctl("rescan")

    def plug() -> None:
        node.add(*back)
        stack.ctl("rescan")

    def die() -> None:
        stack.kill()
        stack.start()
        stack.wait_status(lambda status: status.supervisor.ready, what="it is ready again")

    return [
        ("nothing, for 20 s", lambda: sleep(20), {}),
        ("an NPU is BUSY, and READY again", lambda: _busy(node), {}),
        ("an NPU is in FAULT", lambda: node.set_status("rbln5", 3), {NPUS: 15}),
        ("… and READY again", lambda: node.set_status("rbln5", 0), {NPUS: 16}),
        ("its node in /dev goes", lambda: node.remove_dev_node("rbln5"), {NPUS: 15}),
        ("… and comes", lambda: node.add_dev_node("rbln5"), {NPUS: 16}),
        ("a card of four is unplugged", unplug, {NPUS: 12}),
        ("… and plugged", plug, {NPUS: 16}),
        (
            "the PF's link falls",
            lambda: network.run(stack.pid, f"ip link set {peer} down"),
            {VFS: 0},
        ),
        ("… and rises", lambda: network.run(stack.pid, f"ip link set {peer} up"), {VFS: 64}),
        ("a worker is killed", lambda: os.kill(stack.workers()[NPUS], signal.SIGKILL), {NPUS: 16}),
        ("the supervisor is killed, and started", die, {}),
        ("rbln-ctl reload, nothing is new", lambda: stack.ctl("reload"), {}),
        ("the kubelet restarts", stack.kubelet.restart, {NPUS: 16, VFS: 64}),
    ]


def _busy(node: SimNode) -> None:
    node.set_status("rbln5", 1)
    sleep(5)
    node.set_status("rbln5", 0)
    sleep(5)


def counted(
    stack: Stack, what: str, act: Act, after: Mapping[str, int], *, since: int | None = None
) -> None:
    """Make something happen, and print how many messages of each pool came of it."""
    first = len(stack.kubelet.records) if since is None else since
    act()
    if after:
        stack.kubelet.wait(
            lambda k: (
                len(k.records) > first
                and all(k.resource(name).allocatable == count for name, count in after.items())
            ),
            SEEN_WITHIN_S,
            what=f"{what}: {dict(after)}",
        )
    seen = -1
    while seen != len(stack.kubelet.records):
        seen = len(stack.kubelet.records)
        sleep(REST_S)
    mine = stack.kubelet.records[first:]
    counts = (
        sum(hasattr(r, "devices") and r.resource == name for r in mine) for name in (NPUS, VFS)
    )
    print(f"| {what} | {' | '.join(str(count) for count in counts)} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
