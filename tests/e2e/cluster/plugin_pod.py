"""One pod like the DaemonSet's, with other volumes: what a node or a person may give it."""

import copy
import time
from collections.abc import Callable
from time import monotonic
from typing import Final, Self

from tests.e2e.cluster import pods
from tests.e2e.cluster.api import Object
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.kubectl import Kubectl, tools
from tests.e2e.cluster.setting import NODE
from tests.manifests.objects import KUSTOMIZE, objects, pod

PODS: Final = "/api/v1/namespaces/default/pods"
CONFIG_MAPS: Final = "/api/v1/namespaces/default/configmaps"
TIMEOUT_S: Final = 30.0
_POLL_INTERVAL_S: Final = 0.02


class PluginPod:
    """The shipped pod under another name, from ``with`` to the end of the block."""

    def __init__(
        self, cluster: Cluster, kubectl: Kubectl, name: str, change: Callable[[Object], None]
    ) -> None:
        """``change`` edits the pod's spec before it is created."""
        self.name = name
        self._cluster = cluster
        self._kubectl = kubectl
        spec: Object = copy.deepcopy(pod(objects(tools().kustomize(KUSTOMIZE / "overlays/npu"))))
        del spec["serviceAccountName"]  # of kube-system
        spec |= {"nodeName": NODE, "terminationGracePeriodSeconds": 2}
        volume(spec, "config")["configMap"] = {"name": name}
        change(spec)
        self._config_map: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"config.json": (KUSTOMIZE / "base/config.json").read_text()},
        }
        self._manifest: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": spec,
        }

    def __enter__(self) -> Self:
        self._cluster.api.call("POST", CONFIG_MAPS, self._config_map)
        self._cluster.api.call("POST", PODS, self._manifest)
        return self

    def __exit__(self, *_: object) -> None:
        pods.delete(self._cluster, self.name)
        self._cluster.api.call("DELETE", f"{CONFIG_MAPS}/{self.name}")

    def wait_ready(self) -> None:
        """Wait until it is ready; AssertionError with what it says."""
        self._wait(lambda status: status.get("ready"), "ready")

    def refusal(self) -> str:
        """The termination message of its container, once it has ended."""
        status = self._wait(_terminated, "ended")
        return str((_terminated(status) or {}).get("message", "")).strip()

    def wait_event(self, words: str) -> None:
        """Wait until ``kubectl describe`` shows some words."""
        end = monotonic() + TIMEOUT_S
        while words not in (shown := self.describe()):
            assert monotonic() < end, f"not in {TIMEOUT_S} s: {words}\n{shown}"
            time.sleep(_POLL_INTERVAL_S)

    def run(self, *command: str) -> tuple[int, str]:
        """``kubectl exec``: exit code and output."""
        done = self._kubectl.tried("exec", self.name, "--", *command)
        return done.returncode, done.stdout + done.stderr

    def describe(self) -> str:
        """``kubectl describe`` and its log."""
        log = self._kubectl.tried("logs", self.name)
        return self._kubectl("describe", "pod", self.name) + log.stdout

    def _wait(self, condition: Callable[[Object], object], what: str) -> Object:
        end = monotonic() + TIMEOUT_S
        while True:
            found = self._cluster.api.call("GET", f"{PODS}/{self.name}")
            (status,) = found["status"].get("containerStatuses") or [{}]
            if condition(status):
                return dict(status)
            assert monotonic() < end, f"not {what} in {TIMEOUT_S} s\n{self.describe()}"
            time.sleep(_POLL_INTERVAL_S)


def volume(spec: Object, name: str) -> Object:
    """A volume of a pod's spec, without its source: the caller puts another one."""
    (found,) = (each for each in spec["volumes"] if each["name"] == name)
    for key in [key for key in found if key != "name"]:
        del found[key]
    result: Object = found
    return result


def _terminated(status: Object) -> Object | None:
    for place in ("state", "lastState"):
        if "terminated" in status.get(place, {}):
            return dict(status[place]["terminated"])
    return None
