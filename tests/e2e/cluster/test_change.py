"""From another plugin's DaemonSet to ours by ``kubectl apply -k``, and back."""

import json
from collections.abc import Iterator
from time import monotonic
from typing import Final

import pytest

from tests.e2e.cluster.api import Object
from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import DAEMONSET, NAME, NAMESPACE, DaemonSet
from tests.e2e.cluster.history import History
from tests.e2e.cluster.setting import KUBELET_DIR
from tests.e2e.cluster.shipped_image import NAME as IMAGE
from tests.manifests.objects import REPOSITORY
from tests.system.scene import ATOM, ATOMS

FOLDERS: Final = {
    "kubelet.sock": KUBELET_DIR / "device-plugins",
    "the plugin watcher": KUBELET_DIR / "plugins_registry",
}


ONE_AT_A_TIME: Final[Object] = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def manifest(way: str) -> Object:
    """The other plugin under the name and labels that the reference has."""
    folder = str(FOLDERS[way])
    volumes = {"sockets": folder, "source": str(REPOSITORY)}
    places = {"sockets": folder, "source": "/source"}
    labels = {"name": NAME, "app.kubernetes.io/name": NAME}
    container = {
        "name": "other",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/opt/rbln/bin/python3", "-m", "tests.e2e.cluster.other_plugin"],
        "args": [ATOM, folder, *ATOMS],
        "workingDir": "/source",
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in places.items()],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"name": NAME}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "hostNetwork": True,
                    "terminationGracePeriodSeconds": 5,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [container],
                    "volumes": [
                        {"name": name, "hostPath": {"path": path}} for name, path in volumes.items()
                    ],
                },
            },
        },
    }


@pytest.fixture(params=FOLDERS)
def other(
    request: pytest.FixtureRequest, uninstalled: DaemonSet, history: History, cluster: Cluster
) -> Iterator[str]:
    """The other plugin, installed and listed."""
    uninstalled.remove()
    way = str(request.param)
    text = json.dumps(manifest(way))
    began = monotonic()
    uninstalled.kubectl("apply", "--filename", "-", stdin=text)
    history.wait_for(ATOM, FULL[ATOM], FULL[ATOM], since=began)
    uninstalled.wait_ready(since=began)
    yield way
    uninstalled.remove()


@pytest.mark.by_release
def test_over_and_back(other: str, uninstalled: DaemonSet, bench: Bench) -> None:
    container = bench.pod({ATOM: 2}).running()
    with bench.untouched(container):
        seconds = uninstalled.wait_ready(since=uninstalled.apply())
        bench.settled(ATOM)
        over = str(bench.blip(ATOM))
        new = bench.pod({ATOM: 2}).running()
        # docs/migrate.md: the template goes back, the strategy does not. With ours the other
        # plugin would register before ours has left, and kubelets before 1.37 would end both.
        uninstalled.cluster.api.merge(DAEMONSET, {"spec": {"updateStrategy": ONE_AT_A_TIME}})
        began = monotonic()
        uninstalled.kubectl("rollout", "undo", f"daemonset/{NAME}", "--namespace", NAMESPACE)
        back = uninstalled.wait_ready(since=began)
        bench.settled(ATOM)
    assert new.untouched()
    below = bench.history.seconds_below(ATOM, FULL[ATOM], began)
    bench.report.add(f"another plugin ({other}) → ours by kubectl apply -k", over, seconds)
    bench.report.add(
        "… and back by rollout undo", f"allocatable below 4 of 4 for {below:.1f} s", back
    )
