"""A link that is lost and comes back: from the kernel's word to the message of its VFs."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Final

from tests.bench.measuring import figure
from tests.bench.own import PAUSE_S
from tests.bench.roll import Roll
from tests.bench.scene import EACH_ALONE
from tests.bench.values import Figure, Rounds
from tests.sim import network
from tests.sim.device import SimDevice
from tests.sim.nodes import Link
from tests.sim.stack import Stack

SIZE: Final = "8 VFs"
GROUP: Final = "link"
POOL: Final = {"resourceName": "V", "selectors": {"pfNames": ["p0"]}, "health": EACH_ALONE}
LINKS: Final = {"p0": Link(pair=True)}
VFS: Final = 8


def measured(rounds: Rounds, *, namespace: bool) -> Iterator[Figure]:
    """Both directions; the links are made in the network namespace of this process."""
    why = "" if namespace and network.can("ip link add x type veth peer name y") else "no veth here"
    downs: list[float] = []
    ups: list[float] = []
    if not why:
        print(f"bench: {GROUP}", file=sys.stderr, flush=True)
        for line in network.commands(LINKS):
            subprocess.run(["sh", "-c", line], check=True)
        _flap(rounds.events, downs, ups)
        subprocess.run(["ip", "link", "del", "p0"], check=True)
    yield figure("link-lost", SIZE, "s", downs, why)
    yield figure("link-back", SIZE, "s", ups, why)


def _flap(times: int, downs: list[float], ups: list[float]) -> None:
    pf = SimDevice("0000:5e:00.0", "8086", "1592", "020000", "ice", net=("p0",), totalvfs=VFS)
    vfs = [
        SimDevice(f"0000:5e:02.{n}", "8086", "1889", "020000", "iavf", pf=pf.bdf)
        for n in range(VFS)
    ]
    with Stack({"resourceList": [POOL]}, lambda node: node.add(pf, *vfs)) as stack:
        roll = Roll(stack.kubelet)
        roll.listed_s(VFS, 0.0)
        for _ in range(times):
            for took, state, healthy in ((downs, "down", 0), (ups, "up", VFS)):
                began = monotonic()
                subprocess.run(["ip", "link", "set", network.peer("p0"), state], check=True)
                took.append(roll.listed_s(healthy, began))
                threading.Event().wait(PAUSE_S)
