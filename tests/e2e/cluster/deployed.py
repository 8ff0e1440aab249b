"""The plugin in either deployment, for tests that ask the same of both."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rbln_supervisor.core.status import DeviceStatus, NodeStatus
from tests.e2e.cluster.daemonset import NAME, NAMESPACE, DaemonSet
from tests.e2e.cluster.plugin import Plugin
from tests.system.scene import ATOM, VM, eventually


class Deployed(Protocol):
    """The plugin, serving both pools."""

    kind: str
    cdi: bool

    def rescan(self) -> None:
        """Have it look for devices: a simulated /sys sends no events."""

    def status(self) -> NodeStatus:
        """``rbln-ctl status``."""

    def restart(self) -> None:
        """Replace every process of it, and wait until its pools are listed."""


class InPod:
    """The shipped DaemonSet."""

    kind = "DaemonSet"

    def __init__(self, daemonset: DaemonSet, *, cdi: bool) -> None:
        self.daemonset = daemonset
        self.cdi = cdi

    def rescan(self) -> None:
        """``kubectl exec … rbln-ctl rescan``."""
        self.daemonset.ctl("rescan")

    def status(self) -> NodeStatus:
        """``kubectl exec … rbln-ctl status``."""
        return self.daemonset.status()

    def restart(self) -> None:
        """``kubectl rollout restart``."""
        self.daemonset.kubectl("rollout", "restart", f"daemonset/{NAME}", "--namespace", NAMESPACE)
        self.daemonset.wait(self.daemonset.is_observed, what="the update has begun")
        self.daemonset.wait_ready(since=0.0)


class AsUnit:
    """The supervisor on the host."""

    kind = "unit"

    def __init__(self, plugin: Plugin, *, cdi: bool) -> None:
        self.plugin = plugin
        self.cdi = cdi

    def rescan(self) -> None:
        """``rbln-ctl rescan``."""
        self.plugin.rescan()

    def status(self) -> NodeStatus:
        """``rbln-ctl status``."""
        return self.plugin.status()

    def restart(self) -> None:
        """Stop it, and start it."""
        self.plugin.stop()
        self.plugin.start()
        self.plugin.serves(ATOM, VM)


def device(deployed: Deployed, bdf: str, *, health: str) -> DeviceStatus:
    """An NPU as the plugin shows it, once it has a health."""
    eventually(
        lambda: deployed.status().pools[ATOM].devices[bdf].health == health,
        what=f"{bdf} is {health}",
    )
    return deployed.status().pools[ATOM].devices[bdf]


@contextmanager
def another_registration(deployed: Deployed) -> Iterator[None]:
    """Do something, and wait until the pool of NPUs is registered by another socket than before."""
    before = deployed.status().pools[ATOM].endpoint
    yield

    def is_registered() -> bool:
        pool = deployed.status().pools[ATOM]
        return pool.registered and pool.endpoint not in {None, before}

    eventually(is_registered, what="another registration")
