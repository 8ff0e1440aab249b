"""Claims, slices and pods with claims in the hands of one test."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from itertools import count
from time import monotonic
from typing import Final, Self

from tests.e2e.cluster.api import PODS, NotFoundError, Object
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.dra import objects
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.pods import ExistingPod
from tests.e2e.cluster.setting import NODE

DEADLINE_S: Final = 60.0
POLL_INTERVAL_S: Final = 0.02


class ClaimPod(ExistingPod):
    """A pod whose devices come by claims; it is deleted with its grace, so that they are free."""

    def __init__(self, bench: Bench, manifest: Object) -> None:
        self.api = bench.cluster.api
        ExistingPod.__init__(self, bench.cluster, str(manifest["metadata"]["name"]))
        self.api.call("POST", PODS, manifest)

    @property
    def path(self) -> str:
        """Of the object."""
        return f"{PODS}/{self.name}"

    @property
    def exists(self) -> bool:
        """True as long as the API server has it."""
        try:
            self.api.call("GET", self.path)
        except NotFoundError:
            return False
        return True

    def delete(self) -> None:
        """Delete it, and wait until the kubelet has unprepared its claims and let it go."""
        with suppress(NotFoundError):
            self.api.call("DELETE", self.path)
        wait_until(lambda: not self.exists, what=f"pod {self.name} is gone")

    def claim_name(self, pod_claim: str) -> str:
        """The name of the ResourceClaim that was made for it from a template."""
        statuses = self.status.get("resourceClaimStatuses", ())
        (name,) = (one["resourceClaimName"] for one in statuses if one["name"] == pod_claim)
        return str(name)

    def device_health(self) -> list[Object]:
        """The health of its devices as the pod's status has it."""
        containers = self.status.get("containerStatuses") or [{}]
        return [
            resource
            for status in containers[0].get("allocatedResourcesStatus", ())
            for resource in status.get("resources", ())
        ]


class Claims:
    """What one test makes of resource.k8s.io; all of it is deleted with the test."""

    def __init__(self, bench: Bench, kubectl: Kubectl) -> None:
        self.bench = bench
        self.api = bench.cluster.api
        self.kubectl = kubectl
        self._made = ExitStack()
        self._numbers = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    def device_class(self, driver: str, *, extended_resource: str = "") -> str:
        """Make a DeviceClass of a driver's devices; its name."""
        name = self._name()
        self._make(
            objects.CLASSES,
            objects.device_class(name, driver, extended_resource=extended_resource),
        )
        return name

    def claim(self, *requests: Object, **rest: object) -> str:
        """Make a ResourceClaim; its name."""
        name = self._name()
        self._make(objects.CLAIMS, objects.claim(name, objects.devices_spec(requests, **rest)))
        return name

    def template(self, *requests: Object, **rest: object) -> str:
        """Make a ResourceClaimTemplate; its name."""
        name = self._name()
        spec = objects.devices_spec(requests, **rest)
        self._make(objects.TEMPLATES, objects.claim_template(name, spec))
        return name

    def pod(
        self,
        *,
        claim: str = "",
        template: str = "",
        limits: Mapping[str, int] | None = None,
        **rest: object,
    ) -> ClaimPod:
        """Make a pod of a claim or of one from a template; of neither: by its limits alone.

        ``rest``: further keys of its specification.
        """
        source = {"resourceClaimName": claim} if claim else {"resourceClaimTemplateName": template}
        claims = {"npus": source} if claim or template else {}
        pod = ClaimPod(self.bench, objects.claim_pod(self._name(), claims, limits or {}, **rest))
        self._made.callback(pod.delete)
        return pod

    def get(self, claim: str) -> Object:
        """A ResourceClaim; NotFoundError."""
        return self.api.call("GET", f"{objects.CLAIMS}/{claim}")

    def devices(self, claim: str) -> list[str]:
        """The names of the devices that a claim is allocated."""
        return [str(result["device"]) for result in objects.results(self.get(claim))]

    def wait_released(self, claim: str) -> None:
        """Wait until no pod has a claim reserved."""
        wait_until(
            lambda: not self.get(claim).get("status", {}).get("reservedFor"),
            what=f"claim {claim} is released",
        )

    def describe(self, kind: str, name: str) -> str:
        """``kubectl describe``."""
        return self.kubectl("describe", kind, name)

    def _name(self) -> str:
        return f"d{self.bench.began * 1000:.0f}-{next(self._numbers)}"

    def _make(self, path: str, manifest: Object) -> None:
        self.api.call("POST", path, manifest)
        self._made.callback(self._remove, f"{path}/{manifest['metadata']['name']}")

    def _remove(self, path: str) -> None:
        with suppress(NotFoundError):
            self.api.call("DELETE", path)
            wait_until(lambda: self._is_gone(path), what=f"{path} is gone")

    def _is_gone(self, path: str) -> bool:
        try:
            self.api.call("GET", path)
        except NotFoundError:
            return True
        return False


class Slices:
    """The ResourceSlices of a driver on the node."""

    def __init__(self, cluster: Cluster, driver: str) -> None:
        self._api = cluster.api
        self.driver = driver

    def read(self) -> list[Object]:
        """All of them, in the order of their names."""
        found = self._api.call("GET", f"{objects.SLICES}?fieldSelector=spec.nodeName%3D{NODE}")
        ours = [one for one in found["items"] if one["spec"]["driver"] == self.driver]
        return sorted(ours, key=lambda one: str(one["metadata"]["name"]))

    def devices(self) -> dict[str, Object]:
        """The devices of the newest generation, by name; empty where it is not complete."""
        slices = self.read()
        newest = max((one["spec"]["pool"]["generation"] for one in slices), default=0)
        current = [one for one in slices if one["spec"]["pool"]["generation"] == newest]
        if not current or len(current) != current[0]["spec"]["pool"]["resourceSliceCount"]:
            return {}
        return {
            device["name"]: device for one in current for device in one["spec"].get("devices", ())
        }

    def wait(
        self,
        condition: Callable[[Mapping[str, Object]], object],
        *,
        what: str,
        within_s: float = DEADLINE_S,
    ) -> float:
        """Wait for the devices to be so; seconds it took."""
        return wait_until(lambda: condition(self.devices()), what=what, within_s=within_s)

    def delete(self) -> None:
        """Delete each of them, as a kubelet does at its start."""
        for one in self.read():
            self._api.call("DELETE", f"{objects.SLICES}/{one['metadata']['name']}")


def wait_until(
    condition: Callable[[], object], *, what: str, within_s: float = DEADLINE_S
) -> float:
    """Wait for a condition; seconds it took. AssertionError with what was wanted."""
    began = monotonic()
    while not condition():
        assert monotonic() - began < within_s, f"not within {within_s} s: {what}"
        time.sleep(POLL_INTERVAL_S)
    return monotonic() - began
