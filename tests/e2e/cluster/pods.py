"""Pods, and what their containers really got: read from the kernel, not from what was promised."""

import os
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final, Self

from tests.e2e.cluster.api import PODS, NotFoundError, Object
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.images import IMAGE
from tests.e2e.cluster.setting import NODE

DEADLINE_S: Final = 20.0
AGAIN_S: Final = 0.02


class ExistingPod:
    """A pod of one container that somebody has created."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self._created = monotonic()
        self.seconds = 0.0
        """From its creation, or from when it was first seen, to its running container."""

    @property
    def status(self) -> Object:
        """What the API server says."""
        found: Object = self._cluster.api.call("GET", f"{PODS}/{self.name}").get("status", {})
        return found

    @property
    def uid(self) -> str:
        """The API server's name of this very pod."""
        return str(self._cluster.api.call("GET", f"{PODS}/{self.name}")["metadata"]["uid"])

    def running(self, deadline_s: float = DEADLINE_S) -> "Container":
        """Its container, once it runs; AssertionError where the pod fails or takes too long."""
        status = self._until(_runs, "running", deadline_s)
        self.seconds = monotonic() - self._created
        return Container(self._cluster, _container_id(status))

    def restarted(self, former: "Container", deadline_s: float = DEADLINE_S) -> "Container":
        """The container that runs in the place of another; AssertionError where the pod fails."""
        status = self._until(
            lambda status: _runs(status) and _container_id(status) != former.id,
            "restarted",
            deadline_s,
        )
        return Container(self._cluster, _container_id(status))

    def cannot_start(self, words: str, deadline_s: float = DEADLINE_S) -> str:
        """Why its container is not started; the reason has these words."""
        status = self._until(
            lambda status: words in _waiting(status), f"waiting for {words}", deadline_s
        )
        return _waiting(status)

    def restarted_or_refused(
        self, former: "Container", deadline_s: float = DEADLINE_S
    ) -> "Container | None":
        """The container that runs in the place of another; None where the pod was refused."""
        status = self._until(
            lambda status: (
                status.get("phase") == "Failed"
                or (_runs(status) and _container_id(status) != former.id)
            ),
            "restarted or refused",
            deadline_s,
        )
        if status["phase"] == "Failed":
            assert status["reason"] == "UnexpectedAdmissionError", status
            return None
        return Container(self._cluster, _container_id(status))

    def admitted(self, deadline_s: float = DEADLINE_S) -> bool:
        """Whether it runs; False where the kubelet refused it."""
        status = self._until(
            lambda status: _runs(status) or status.get("phase") == "Failed", "decided", deadline_s
        )
        return bool(status["phase"] != "Failed")

    def refused(self, deadline_s: float = DEADLINE_S) -> str:
        """The reason for which the kubelet did not admit it."""
        status = self._until(lambda status: status.get("phase") == "Failed", "refused", deadline_s)
        return str(status["reason"])

    def unplaced(self, deadline_s: float = DEADLINE_S) -> str:
        """Why the scheduler has not placed it."""
        status = self._until(lambda status: status.get("conditions"), "unplaced", deadline_s)
        condition = status["conditions"][0]
        assert condition["status"] == "False", status
        return str(condition["message"])

    def _until(self, condition: Callable[[Object], object], what: str, deadline_s: float) -> Object:
        end = monotonic() + deadline_s
        while True:
            status = self.status
            if condition(status):
                return status
            if status.get("phase") == "Failed":
                why = f"{status.get('reason')}: {status.get('message')}"
                raise AssertionError(f"pod {self.name} failed: {why}")
            assert monotonic() < end, f"pod {self.name} not {what} in {deadline_s} s: {status}"
            time.sleep(AGAIN_S)


class Pod(ExistingPod):
    """A pod of one container, from its creation on."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        limits: Mapping[str, int],
        *,
        scheduled: bool,
        restarts: bool = False,
    ) -> None:
        """Create it on the node, or for the scheduler to place.

        ``restarts``: its container is started again in place whenever it ends.
        """
        rest = {} if scheduled else {"nodeName": NODE}
        if restarts:
            rest["restartPolicy"] = "Always"
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": pod_spec(limits, **rest),
        }
        self._create(cluster, manifest)

    def _create(self, cluster: Cluster, manifest: Object) -> None:
        ExistingPod.__init__(self, cluster, str(manifest["metadata"]["name"]))
        cluster.api.call("POST", PODS, manifest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.delete()

    def delete(self) -> None:
        """Delete it without grace, and wait until its devices are free again."""
        delete(self._cluster, self.name)


def delete(cluster: Cluster, name: str) -> None:
    """Delete a pod without grace, and wait until nothing of it is left."""
    labels = f'labels."io.kubernetes.pod.name"=={name}'
    with suppress(NotFoundError):
        cluster.api.call("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
    end = monotonic() + DEADLINE_S
    while set(cluster.ctr("containers", "ls", "-q", labels).split()) & set(
        cluster.ctr("tasks", "ls", "-q").split()
    ):
        assert monotonic() < end, f"the containers of pod {name} still run"
        time.sleep(AGAIN_S)


class Container:
    """A running container, seen from the host."""

    def __init__(self, cluster: Cluster, uri: str) -> None:
        self._cluster = cluster
        self.id = uri.removeprefix("containerd://")
        tasks = (line.split() for line in cluster.ctr("tasks", "ls").splitlines()[1:])
        self.pid = next(int(pid) for name, pid, _ in tasks if name == self.id)
        self._process = Path(f"/proc/{self.pid}")
        self._started = self._start_time()

    def untouched(self) -> bool:
        """Whether the very same process still runs."""
        return self._start_time() == self._started

    def environment(self) -> dict[str, str]:
        """All variables of its first process."""
        entries = (self._process / "environ").read_bytes().decode().split("\0")
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)

    def devices(self) -> dict[str, int]:
        """Its device nodes: path → device number."""
        root = self._process / "root"
        found = {}
        for folder, _, names in os.walk(root / "dev"):
            for path in (Path(folder) / name for name in names):
                seen = path.lstat()
                if stat.S_ISCHR(seen.st_mode) or stat.S_ISBLK(seen.st_mode):
                    found[f"/{path.relative_to(root)}"] = seen.st_rdev
        return found

    def mounts(self) -> dict[str, tuple[str, ...]]:
        """Its mounts: path → options."""
        lines = (self._process / "mountinfo").read_text().splitlines()
        return {line.split()[4]: tuple(line.split()[5].split(",")) for line in lines}

    def working_set_bytes(self) -> int:
        """Memory that the kernel can not drop, as the kubelet counts it."""
        groups = (self._process / "cgroup").read_text().splitlines()
        paths = dict(line.split(":", 2)[1:] for line in groups)
        if "memory" in paths:
            folder = Path("/sys/fs/cgroup/memory" + paths["memory"])
            usage, inactive = "memory.usage_in_bytes", "total_inactive_file"
        else:
            folder = Path("/sys/fs/cgroup" + paths[""])
            usage, inactive = "memory.current", "inactive_file"
        lines = (folder / "memory.stat").read_text().splitlines()
        stat = dict(line.split() for line in lines)
        return int((folder / usage).read_text()) - int(stat[inactive])

    def is_host_file(self, path: str, of_host: str) -> bool:
        """Whether a path inside is that very file of the host's."""
        return (self._process / "root" / path.lstrip("/")).samefile(of_host)

    def opening(self, path: str) -> str:
        """What opening a device node inside says: empty where it worked, else the error."""
        # A shell's redirection opens and does nothing else.
        said = self.run("sh", "-c", f": <{path}; echo", tolerant=True)
        return said.rpartition(": ")[2].strip()

    def run(self, *command: str, tolerant: bool = False) -> str:
        """Run something inside, bound by the container's cgroups; what it wrote."""
        name = uuid.uuid4().hex[:8]
        try:
            return self._cluster.ctr("tasks", "exec", "--exec-id", name, self.id, *command)
        except RuntimeError as error:
            if tolerant:
                return str(error)
            raise

    def _start_time(self) -> str:
        try:
            return (self._process / "stat").read_text().rpartition(")")[2].split()[19]
        except OSError:
            return ""


def given(container: Container, resource: str) -> list[str]:
    """The IDs of the devices that a container was given, as its variable names them."""
    variable = f"PCIDEVICE_{resource.replace('/', '_').replace('.', '_').upper()}"
    return container.environment()[variable].split(",")


def _container_id(status: Object) -> str:
    return str(status["containerStatuses"][0]["containerID"]).removeprefix("containerd://")


def _waiting(status: Object) -> str:
    states = status.get("containerStatuses") or [{}]
    waiting = states[0].get("state", {}).get("waiting", {})
    return f"{waiting.get('reason')}: {waiting.get('message')}"


def _runs(status: Object) -> bool:
    states = status.get("containerStatuses") or [{}]
    return "running" in states[0].get("state", {})


def pod_spec(limits: Mapping[str, int], **rest: object) -> Object:
    """The specification of a pod of one container that waits."""
    limit = {key: str(count) for key, count in limits.items()}
    container = {
        "name": "c",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "resources": {"limits": limit},
    }
    return {
        "hostNetwork": True,
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        **rest,
    }
