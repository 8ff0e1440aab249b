"""The plugin as it is shipped: image, manifests and chart, installed and removed as a user does."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from rbln_supervisor.core.status import NodeStatus
from tests.e2e.cluster.api import NotFoundError, Object
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.kubectl import Kubectl
from tests.manifests.objects import CHART, KUSTOMIZE
from tests.system.scene import TWO_POOLS

NAMESPACE: Final = "kube-system"
NAME: Final = "rbln-device-plugin"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
DAEMONSET: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{NAME}"
CONFIG_MAP: Final[Object] = {
    "name": f"{NAME}-config",
    "namespace": NAMESPACE,
    "behavior": "replace",
    "files": ["config.json"],
    "options": {
        "disableNameSuffixHash": True,
        "labels": {"app.kubernetes.io/name": NAME},
    },
}
"""A generator of a user's own configuration, as docs/install.md has it."""
KINDS: Final = (
    *("daemonset", "configmap", "serviceaccount", "clusterrole", "clusterrolebinding"),
    *("validatingadmissionpolicy", "validatingadmissionpolicybinding", "deviceclass"),
)
"""What any overlay makes."""
READY_TIMEOUT_S: Final = 60.0
_POLL_INTERVAL_S: Final = 0.02


class DaemonSet:
    """The DaemonSet in kube-system, and what it says of itself."""

    def __init__(self, cluster: Cluster, kubectl: Kubectl) -> None:
        self.cluster = cluster
        self.kubectl = kubectl

    def apply(self, folder: Path = KUSTOMIZE / "overlays/npu") -> float:
        """``kubectl apply -k``; when it was called (monotonic)."""
        began = monotonic()
        self.kubectl("apply", "-k", folder)
        return began

    def helm(self, verb: str, *words: str | Path) -> float:
        """``helm install`` or ``helm upgrade``; when it was called (monotonic)."""
        began = monotonic()
        self.kubectl.helm(verb, NAME, CHART, "--namespace", NAMESPACE, *words)
        return began

    def wait_ready(self, *, since: float) -> float:
        """Wait until every pod is of the newest template and ready; seconds since a time."""
        end = monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            assert monotonic() < end, f"not ready in {READY_TIMEOUT_S} s\n{self.describe()}"
            time.sleep(_POLL_INTERVAL_S)
        return monotonic() - since

    def remove(self) -> None:
        """Delete everything that any overlay or the chart makes, and wait until it is gone."""
        if NAME in self.kubectl.helm("list", "--namespace", NAMESPACE, "--short").split():
            self.kubectl.helm("uninstall", NAME, "--namespace", NAMESPACE)
        self.kubectl(
            *("delete", ",".join(KINDS), "--namespace", NAMESPACE),
            *("--ignore-not-found", "--selector", f"app.kubernetes.io/name={NAME}"),
        )
        self.wait(lambda: not self.pods(), what="its pods are gone")

    def pods(self) -> list[Object]:
        """Its pods, the oldest first."""
        selector = f"labelSelector=name%3D{NAME}"
        items: list[Object] = self.cluster.api.call("GET", f"{PODS}?{selector}")["items"]
        return sorted(items, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def pod(self) -> str:
        """The name of the only pod that is not about to go."""
        names = [
            pod["metadata"]["name"]
            for pod in self.pods()
            if "deletionTimestamp" not in pod["metadata"]
        ]
        assert len(names) == 1, names
        return str(names[0])

    def container_status(self) -> Object:
        """The status that the kubelet reports of the container."""
        (pod,) = (pod for pod in self.pods() if "deletionTimestamp" not in pod["metadata"])
        statuses = pod["status"].get("containerStatuses") or [{}]
        return dict(statuses[0])

    def has_one_ready_pod(self, *, after: str = "") -> bool:
        """Return True once no rollout is under way, and the one pod, another one, is ready."""
        pods = self.pods()
        if len(pods) != 1 or "deletionTimestamp" in pods[0]["metadata"]:
            return False
        if pods[0]["metadata"]["name"] == after:
            return False
        return any(one["ready"] for one in pods[0]["status"].get("containerStatuses", ()))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """``kubectl exec`` in its container."""
        return self.kubectl.tried("exec", "--namespace", NAMESPACE, self.pod(), "--", *command)

    def ctl(self, *words: str) -> str:
        """``kubectl exec … rbln-ctl``; AssertionError where it fails."""
        done = self.run("rbln-ctl", *words)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> NodeStatus:
        """``rbln-ctl status --json``."""
        return msgspec.json.decode(self.ctl("status", "--json"), type=NodeStatus)

    def endpoints(self) -> frozenset[str | None]:
        """The sockets that the kubelet knows; empty while nobody can be asked."""
        done = self.run("rbln-ctl", "status", "--json")
        if done.returncode:
            return frozenset()
        pools = msgspec.json.decode(done.stdout, type=NodeStatus).pools.values()
        return frozenset(pool.endpoint for pool in pools if pool.registered)

    def wait_new_endpoints(self, before: frozenset[str | None]) -> None:
        """Wait until every pool is registered by another socket than before."""
        self.wait(
            lambda: len(now := self.endpoints()) == len(before) and not now & before,
            what="every pool is registered by a new socket",
        )

    def log(self, *words: str) -> str:
        """``kubectl logs``."""
        return self.kubectl("logs", "--namespace", NAMESPACE, self.pod(), *words)

    def describe(self) -> str:
        """``kubectl describe`` of its pods and their logs, for people."""
        texts = [
            self.kubectl.tried("describe", "pod", "-n", NAMESPACE, "-l", f"name={NAME}").stdout
        ]
        for pod in self.pods():
            name = pod["metadata"]["name"]
            texts.append(self.kubectl.tried("logs", "-n", NAMESPACE, name, "--tail", "60").stdout)
        return "\n".join(texts)

    def configure(self, text: str) -> float:
        """Replace the file in the ConfigMap; when that was (monotonic)."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}-config"
        self.cluster.api.merge(path, {"data": {"config.json": text}})
        return monotonic()

    def wait(self, condition: Callable[[], object], *, what: str, within_s: float = 60.0) -> float:
        """Wait for a condition; seconds it took. AssertionError with what the pods say."""
        began = monotonic()
        while not condition():
            assert monotonic() - began < within_s, f"not in {within_s} s: {what}\n{self.describe()}"
            time.sleep(_POLL_INTERVAL_S)
        return monotonic() - began

    def is_observed(self) -> bool:
        """True once its controller has seen the newest template."""
        found = self.cluster.api.call("GET", DAEMONSET)
        observed = found.get("status", {}).get("observedGeneration")
        return bool(observed == found["metadata"]["generation"])

    def _is_ready(self) -> bool:
        try:
            found = self.cluster.api.call("GET", DAEMONSET)
        except NotFoundError:
            return False
        status = found.get("status", {})
        return (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedNumberScheduled") == 1
            and status.get("numberReady") == 1
            and len(self.pods()) == 1
        )


def overlay(folder: Path, *, base: str, components: tuple[str, ...] = (), **more: object) -> Path:
    """A kustomization of a user's own on top of a shipped one."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        # Kustomize takes no absolute paths.
        "resources": [os.path.relpath(KUSTOMIZE / base, folder.resolve())],
        "components": [
            os.path.relpath(KUSTOMIZE / "components" / each, folder.resolve())
            for each in components
        ],
        **more,
    }
    (folder / "kustomization.yaml").write_text(json.dumps(content))
    return folder


def two_pools(folder: Path, *, cdi: bool = False) -> Path:
    """A user's kustomization of the base, with a configuration of two pools."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(msgspec.json.encode(TWO_POOLS))
    components = ("cdi",) if cdi else ()
    return overlay(folder, base="base", components=components, configMapGenerator=[CONFIG_MAP])
