"""A node with a DRA pool and the vendor's tool, a cluster, and what claims show on the node."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, NamedTuple

import yaml

from tests.sim.dra_cluster import SimCluster
from tests.sim.dra_records import Claim, DraAnswer
from tests.sim.kubelet import SimKubelet
from tests.sim.rsd import SimRsd
from tests.sim.stack import Stack
from tests.system.scene import ATOMS, VM_POOL, config, pool

DRIVER: Final = "npu.rebellions.ai"
POOL: Final = pool("ATOM", drivers=["rebellions"], export="dra", dra={"driverName": DRIVER})
NAME: Final = "rebellions.ai/ATOM"
NPUS: Final = tuple(f"rbln{n}" for n in range(4))
DEVICES: Final = tuple(bdf.replace(":", "-").replace(".", "-") for bdf in ATOMS)
WITHIN_S: Final = 30.0


class Scene(NamedTuple):
    """What a test has."""

    stack: Stack
    cluster: SimCluster
    rsd: SimRsd

    @property
    def kubelet(self) -> SimKubelet:
        return self.stack.kubelet

    def claim(self, name: str, *numbers: int) -> Claim:
        return self.cluster.create_claim(name, DRIVER, [DEVICES[number] for number in numbers])

    def prepare(self, claim: Claim) -> DraAnswer:
        return self.kubelet.dra.prepare(DRIVER, [claim])[claim.uid]

    def unprepare(self, claim: Claim) -> str:
        return self.kubelet.dra.unprepare(DRIVER, [claim])[claim.uid]

    def nodes(self, claim: Claim) -> set[tuple[str, str]]:
        """Host and container paths of all devices of a claim."""
        (path,) = (self.stack.root / "var/run/cdi").glob(f"*{claim.uid}*")
        spec: dict[str, Any] = yaml.safe_load(path.read_text())
        return {
            (node["hostPath"], node["path"])
            for device in spec["devices"]
            for node in device["containerEdits"].get("deviceNodes", ())
        }

    def wait(self, condition: Callable[[], object], what: str) -> None:
        end = monotonic() + WITHIN_S
        while not condition():
            assert monotonic() < end, f"not within {WITHIN_S:g} s: {what}\n{self.stack.story()}"
            sleep(0.02)

    def kill_worker(self) -> None:
        former = self.stack.workers()[NAME]
        os.kill(former, signal.SIGKILL)
        self.stack.wait_status(
            lambda status: status.pools[NAME].worker.pid not in {None, former},
            what="another worker",
        )
        self.wait_registered()

    def wait_report(self) -> None:
        """Wait for the next message of a health stream."""
        seen = self.kubelet.dra.reports
        assert self.kubelet.dra.comes(lambda dra: dra.reports > seen, WITHIN_S), "no health"

    def wait_registered(self) -> None:
        dra = self.kubelet.dra
        assert dra.comes(lambda _: len(dra.endpoints(DRIVER)) == 1, WITHIN_S), "no driver"


@contextmanager
def claim_node(folder: Path, *, under: Sequence[str] = ()) -> Iterator[Scene]:
    """Start everything, and wait for the driver; ``under``: a command that runs the supervisor."""
    with SimCluster(folder, "node-1") as cluster:
        stack = Stack(
            config(POOL, VM_POOL),
            arguments=("--node-name", "node-1", "--kubeconfig", str(cluster.kubeconfig)),
            kubelet=lambda folder: SimKubelet(folder, plugin_watcher=True),
        )
        stack.under = tuple(under)
        rsd = SimRsd(stack.root, NPUS)
        with stack:
            scene = Scene(stack, cluster, rsd)
            scene.wait_registered()
            yield scene
