"""A Deployment of one pod: its ReplicaSet makes another where one has failed."""

import time
from collections.abc import Mapping
from time import monotonic
from typing import Final, Self

from tests.e2e.cluster import pods
from tests.e2e.cluster.api import PODS
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.pods import ExistingPod, pod_spec

DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/default/deployments"
_POLL_INTERVAL_S: Final = 0.02


class Deployment:
    """One replica; ``with`` is its whole life."""

    def __init__(self, cluster: Cluster, name: str, limits: Mapping[str, int]) -> None:
        self._cluster = cluster
        self.name = name
        labels = {"app": name}
        manifest = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": pod_spec(limits, restartPolicy="Always"),
                },
            },
        }
        self._path = f"{DEPLOYMENTS}/{name}"
        cluster.api.call("POST", DEPLOYMENTS, manifest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Delete it and its pods."""
        self._cluster.api.merge(self._path, {"spec": {"replicas": 0}})
        while names := self._names():
            for name in names:
                pods.delete(self._cluster, name)
        self._cluster.api.call("DELETE", f"{self._path}?propagationPolicy=Background")

    def pod(self, *, besides: str = "", deadline_s: float = pods.DEADLINE_S) -> ExistingPod:
        """Its pod; ``besides``: one of another name."""
        end = monotonic() + deadline_s
        while not (names := [name for name in self._names() if name != besides]):
            assert monotonic() < end, f"{self.name} has no pod in {deadline_s} s"
            time.sleep(_POLL_INTERVAL_S)
        return ExistingPod(self._cluster, names[0])

    def _names(self) -> list[str]:
        found = self._cluster.api.call("GET", f"{PODS}?labelSelector=app%3D{self.name}")
        return [str(pod["metadata"]["name"]) for pod in found["items"]]
