"""Kubernetes' own DRA test driver, in Go: what figures of ours are measured beside."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.e2e.cluster import build
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.setting import KUBELET_DIR, NODE

DRIVER: Final = "go.example.com"
_NAME: Final = "dra-test-driver"


@contextmanager
def running(cluster: Cluster, devices: int) -> Iterator[int]:
    """Run it on the host with so many devices; its pid."""
    command = (
        *(build.dra_test_driver(cluster.places), "kubelet-plugin", f"--drivername={DRIVER}"),
        *(f"--kubeconfig={cluster.places.state}/kubeconfig", f"--node-name={NODE}"),
        *(f"--num-devices={devices}", f"--datadir={KUBELET_DIR}/plugins"),
        f"--plugin-registration-path={KUBELET_DIR}/plugins_registry",
    )
    (KUBELET_DIR / "plugins" / DRIVER).mkdir(parents=True, exist_ok=True)
    cluster.daemons.start(_NAME, command)
    try:
        pid = cluster.daemons.pid(_NAME)
        assert pid is not None, cluster.daemons.log(_NAME).read_text(errors="replace")
        yield pid
    finally:
        cluster.daemons.stop(_NAME)
