"""The real kubelet keeps the contract that the simulated one keeps (tests/system)."""

import pytest

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.history import History
from tests.e2e.cluster.setting import KUBELET_DIR, at_least
from tests.sim.dra_contract import DraContract
from tests.sim.kubelet_contract import AnyKubelet, KubeletContract

pytestmark = pytest.mark.by_release


class RealKubelet:
    """The cluster's kubelet."""

    plugins = KUBELET_DIR / "device-plugins"
    registry = KUBELET_DIR / "plugins_registry"
    socket = plugins / "kubelet.sock"

    def __init__(self, cluster: Cluster, history: History) -> None:
        self._cluster = cluster
        self._history = history

    @property
    def keeps_each_socket(self) -> bool:
        """It is 1.37 or newer."""
        return at_least(37)

    @property
    def health_service(self) -> str:
        """Of the newest version that it knows; the gate ResourceHealthStatus is off before 1.36."""
        if not at_least(36):
            return ""
        return f"{'v1' if at_least(37) else 'v1alpha1'}.DRAResourceHealth"

    def wait_listed(self, name: str, allocatable: int, capacity: int | None = None) -> None:
        """Wait until the node's status shows so many devices."""
        self._history.wait_for(name, allocatable, allocatable if capacity is None else capacity)

    def restart(self) -> None:
        """Restart it as it is."""
        self._cluster.restart_kubelet()


class TestContract(KubeletContract):
    @pytest.fixture
    def kubelet(self, cluster: Cluster, history: History) -> AnyKubelet:
        return RealKubelet(cluster, history)


class TestDraContract(DraContract):
    @pytest.fixture
    def kubelet(self, cluster: Cluster, history: History) -> AnyKubelet:
        return RealKubelet(cluster, history)
