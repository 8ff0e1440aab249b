"""What tests do to the cluster again and again."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Final, NamedTuple, Self

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.deployment import Deployment
from tests.e2e.cluster.history import History
from tests.e2e.cluster.kubelet_log import KubeletLog
from tests.e2e.cluster.pods import Container, Pod
from tests.e2e.report import Report
from tests.system.scene import ATOM, VM

FULL: Final = {ATOM: 4, VM: 2}
"""Devices of the node by resource."""
TURN_S: Final = 1.0
"""The period of the kubelet's plugin manager (pluginmanager/plugin_manager.go)."""


class Blip(NamedTuple):
    """What the node's status and the kubelet showed of a resource while something was done."""

    lowest: int
    """Allocatable devices."""
    below_s: float
    """How long the status showed less than all of them."""
    dark_s: float
    """How long the kubelet itself knew of no healthy device: its log's word."""

    def __str__(self) -> str:
        inside = f"; inside the kubelet none for {self.dark_s * 1000:.0f} ms" * (self.dark_s > 0)
        if self.below_s == 0:
            return f"allocatable never moved{inside}"
        return f"allocatable down to {self.lowest} for {self.below_s:.1f} s{inside}"


class Bench:
    """The cluster in the hands of one test."""

    def __init__(self, cluster: Cluster, history: History, report: Report) -> None:
        self.cluster = cluster
        self.history = history
        self.report = report
        self.log = KubeletLog(cluster.daemons.log("kubelet"))
        self.began = monotonic()
        self._pods = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pods.close()

    def pod(
        self,
        limits: Mapping[str, int] | None = None,
        *,
        scheduled: bool = False,
        restarts: bool = False,
    ) -> Pod:
        """Create a pod; it is deleted with the test."""
        pod = Pod(self.cluster, self._name(), limits or {}, scheduled=scheduled, restarts=restarts)
        return self._pods.enter_context(pod)

    def deployment(self, limits: Mapping[str, int]) -> Deployment:
        """Create a Deployment of one pod; it is deleted with the test."""
        return self._pods.enter_context(Deployment(self.cluster, self._name(), limits))

    def all_allocatable(self, since: float | None = None) -> float:
        """Wait until every device of both resources is; when that came (monotonic)."""
        return max(
            self.history.wait_for(name, full, full, since=since) for name, full in FULL.items()
        )

    def settled(self, resource: str, quiet_s: float = TURN_S + 0.5) -> None:
        """Wait until all devices are allocatable and stay so for a turn of the manager."""
        self.history.wait_quiet(resource, FULL[resource], quiet_s)

    def blip(self, resource: str) -> Blip:
        """The resource's dips since the test began."""
        counts = self.history.counts(resource, self.began)
        return Blip(
            lowest=min(count.allocatable for count in counts),
            below_s=self.history.seconds_below(resource, FULL[resource], self.began),
            dark_s=sum(self.log.dark_seconds(resource)),
        )

    @contextmanager
    def untouched(self, *containers: Container, resources: tuple[str, ...] = ()) -> Iterator[None]:
        """Whatever the block does, these containers run on and these counts do not move."""
        began = monotonic()
        yield
        for container in containers:
            assert container.untouched(), f"container {container.id} was ended"
        for resource in resources:
            counts = self.history.counts(resource, began)
            assert len(counts) == 1, f"{resource} moved: {self.history.story(resource)}"

    def _name(self) -> str:
        self._count += 1
        return f"p{self.began * 1000:.0f}-{self._count}"
