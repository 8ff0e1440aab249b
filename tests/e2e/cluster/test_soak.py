"""Pods come and go while everything is killed at random: no NPU is ever in two containers.

An NPU is what is behind a node at that moment: two that were unplugged can come back with each
other's number.

RBLN_E2E_SOAK_S is how long (30 s by default), RBLN_E2E_SOAK_SEED repeats a run's choices.
"""

import os
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Final

import msgspec
import pytest

from tests.e2e.cluster import pods
from tests.e2e.cluster.api import PODS, NotFoundError
from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import NAME, NAMESPACE, DaemonSet
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Container, Pod, given
from tests.sim import uevents
from tests.sim.device import SimDevice
from tests.system.scene import ATOM, ATOMS, eventually

MAX_PODS: Final = 4
SOAK_S: Final = float(os.environ.get("RBLN_E2E_SOAK_S", "30"))
PROBATION_S: Final = 170.0
"""A device that was unplugged, or lost its number, seven times is on probation for 80 s."""


class Soak:
    """One run: its pods, its acts, and what it saw."""

    def __init__(self, cluster: Cluster, installed: DaemonSet, node: HostNode, seed: int) -> None:
        self._cluster, self._installed, self._node = cluster, installed, node
        self._random = random.Random(seed)  # noqa: S311 - choices, no secrets
        self._count = 0
        self._names: list[str] = []
        self._unplugged: dict[str, SimDevice] = {}
        self.acts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.containers = 0
        """Containers whose devices were looked at."""
        self.moved = 0
        """Those of them that had a node which was another NPU's by then."""

    def act(self) -> None:
        """Do one thing at random."""
        acts: dict[Callable[[], None], int] = {
            self._create_pod: 8,
            self._delete_pod: 5,
            self._kill_worker: 2,
            self._kill_supervisor: 2,
            self._kill_container: 1,
            self._restart_kubelet: 1,
            self._unplug: 2,
            self._plug: 3,
            self._swap_numbers: 2,
            self._restart_plugin: 1,
        }
        chosen = self._random.choices(list(acts), list(acts.values()))[0]
        chosen()

    def check(self) -> None:
        """No NPU is in two running containers; each has those that its variable names.

        Where numbers were swapped while it ran, its devices are Unhealthy.
        """
        owners: dict[str, str] = {}
        for name in list(self._names):
            try:
                status = self._cluster.api.call("GET", f"{PODS}/{name}").get("status", {})
            except NotFoundError:
                continue
            if status.get("phase") == "Failed":
                self.refusals[f"{status.get('reason')}: {_cause(str(status.get('message')))}"] += 1
                self._delete(name)
                continue
            states = status.get("containerStatuses") or [{}]
            if "running" not in states[0].get("state", {}):
                continue
            try:
                container = Container(self._cluster, states[0]["containerID"])
                devices, has = set(given(container, ATOM)), container.devices()
            except (OSError, StopIteration, KeyError):  # it ended while it was looked at
                continue
            self.containers += 1
            numbers = {self._node.path(bdf): bdf for bdf in ATOMS if bdf in self._node.devices}
            reached = {numbers[path] for path in has if path in numbers}
            for device in devices - reached - self._unplugged.keys():
                self._is_unhealthy(device, name)
            for device in reached:
                assert device not in owners, f"{device} is in {name} and in {owners[device]}"
                owners[device] = name
            self.moved += bool(reached - devices)

    def finish(self) -> None:
        """Plug in everything, delete every pod."""
        while self._unplugged:
            self._plug()
        for name in list(self._names):
            self._delete(name)

    def _create_pod(self) -> None:
        if len(self._names) >= MAX_PODS:
            return self._delete_pod()
        self.acts["pod created"] += 1
        self._count += 1
        name = f"soak-{self._count}"
        # Some by the scheduler, some on the node: those fail where too few are free.
        scheduled = self._random.random() < 0.7
        Pod(self._cluster, name, {ATOM: self._random.randint(1, 3)}, scheduled=scheduled)
        self._names.append(name)
        return None

    def _delete_pod(self) -> None:
        if self._names:
            self.acts["pod deleted"] += 1
            self._delete(self._random.choice(self._names))

    def _delete(self, name: str) -> None:
        pods.delete(self._cluster, name)
        self._names.remove(name)

    def _kill_worker(self) -> None:
        with suppress(AssertionError, ValueError):  # the container is between two lives
            pid = self._installed.status().pools[ATOM].worker.pid
            self._kill(f"{pid}", "worker killed")

    def _kill_supervisor(self) -> None:
        with suppress(AssertionError, ValueError):
            self._kill(f"{self._installed.status().supervisor.pid}", "supervisor killed")

    def _kill(self, pid: str, what: str) -> None:
        if self._installed.run("sh", "-c", f"kill -9 {pid}").returncode == 0:
            self.acts[what] += 1

    def _kill_container(self) -> None:
        with suppress(RuntimeError, KeyError, ValueError):
            self._cluster.kill_container(self._installed.container_status()["containerID"])
            self.acts["plugin's container killed"] += 1

    def _restart_kubelet(self) -> None:
        self.acts["kubelet restarted"] += 1
        self._cluster.restart_kubelet()

    def _unplug(self) -> None:
        left = [bdf for bdf in ATOMS if bdf not in self._unplugged]
        if len(left) > 1:
            bdf = self._random.choice(left)
            self._unplugged[bdf] = self._node.devices[bdf]
            self._node.remove(bdf)
            self._send_events("NPU unplugged", "unbind", "remove", devices=[bdf])

    def _plug(self) -> None:
        if self._unplugged:
            bdf = self._random.choice(list(self._unplugged))
            self._node.add(self._unplugged.pop(bdf))
            self._send_events("NPU plugged in", "add", "bind", devices=[bdf])

    def _swap_numbers(self) -> None:
        if len(self._unplugged) > 1:
            pair = self._random.sample(sorted(self._unplugged), 2)
            first, second = (self._unplugged.pop(bdf) for bdf in pair)
            self._node.add(
                msgspec.structs.replace(first, rbln=second.rbln),
                msgspec.structs.replace(second, rbln=first.rbln),
            )
            what = "two NPUs plugged in with each other's number"
            self._send_events(what, "add", "bind", devices=pair)

    def _restart_plugin(self) -> None:
        words = "rollout", "restart", f"daemonset/{NAME}", "--namespace", NAMESPACE
        if self._installed.kubectl.tried(*words).returncode == 0:  # once a second at most
            self.acts["all of the plugin restarted"] += 1

    def _is_unhealthy(self, device: str, pod: str) -> None:
        """The plugin says so of a pod's device, unless nobody answers or the pod has gone."""

        def says_so() -> bool:
            try:
                seen = self._installed.status().pools[ATOM].devices.get(device)
            except (AssertionError, KeyError):  # it is between two lives
                return False
            return seen is not None and seen.health == "Unhealthy"

        eventually(says_so, what=f"{device} of {pod} is Unhealthy: its number was swapped")

    def _send_events(self, what: str, *actions: str, devices: Iterable[str]) -> None:
        """The kernel's events about functions, in order; a simulated /sys sends none."""
        self.acts[what] += 1
        frames = [
            uevents.pci(action, bdf, DRIVER="rebellions") for bdf in devices for action in actions
        ]
        uevents.inject(os.getpid(), frames)


def _cause(message: str) -> str:
    """A message of the kubelet without the numbers in it."""
    text = message.partition(", which is")[0]
    return "".join(each for each in text if not each.isdecimal())[:120]


@pytest.mark.timeout(300 + SOAK_S)
def test_no_npu_is_ever_in_two_containers(
    installed: DaemonSet, plugged: object, bench: Bench, cluster: Cluster, node: HostNode
) -> None:
    seed = int(os.environ.get("RBLN_E2E_SOAK_SEED") or secrets.randbelow(10_000))
    print(f"soak: seed {seed}")
    soak = Soak(cluster, installed, node, seed)
    began = monotonic()
    try:
        while monotonic() - began < SOAK_S:
            soak.act()
            soak.check()
    finally:
        soak.finish()
    ended = monotonic()
    installed.wait(installed.has_one_ready_pod, what="the plugin is ready", within_s=120)
    installed.ctl("rescan")
    print(installed.ctl("status", "--unhealthy"))
    back = bench.history.wait(
        ATOM,
        lambda count: count.allocatable == FULL[ATOM],
        PROBATION_S,
        what="every NPU is allocatable again",
    )
    assert soak.containers > 0
    done = ", ".join(f"{what} {count}" for what, count in sorted(soak.acts.items()))
    failed = (
        "; ".join(f"{count} times {why}" for why, count in soak.refusals.most_common()) or "none"
    )
    moved = (
        f"{soak.moved} times a node was another NPU's by then, which was in no other container, "
        "and the pod's was Unhealthy"
    )
    bench.report.add(
        f"soak of {SOAK_S:.0f} s, seed {seed}: {done}",
        f"no NPU in two containers, each has the nodes of its variable ({soak.containers} checked; "
        f"{moved}); all allocatable again {max(0.0, back - ended):.1f} s after the end. Pods "
        f"that failed admission: {failed}",
        ended - began,
    )
