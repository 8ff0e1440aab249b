"""The shipped overlay for events: what people see with kubectl, and what the token may not do."""

import json
import os
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any, Final

import msgspec
import pytest

from rbln_supervisor.core.events.series import CONTROLLER
from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.daemonset import CONFIG_MAP, NAME, NAMESPACE, DaemonSet, overlay
from tests.e2e.cluster.history import History
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import given
from tests.e2e.cluster.setting import NODE
from tests.system.scene import ATOM, ATOMS, TWO_POOLS, eventually

CONDITION: Final = "RblnDevicesUnhealthy"
_PATCH: Final = """
import asyncio, json, sys
from rbln_worker.core.kube.api_error import ApiError
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.client import ApiClient

async def patch():
    client = ApiClient(ClusterAccess(None))
    try:
        await client.patch(sys.argv[1], json.loads(sys.argv[2]), dict)
        print("patched")
    except ApiError as error:
        print(error.status, error)

asyncio.run(patch())
"""
_CREATE: Final = """
import asyncio, json, sys
from rbln_worker.core.kube.api_error import ApiError
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.client import ApiClient

async def create():
    client = ApiClient(ClusterAccess(None))
    try:
        await client.create(sys.argv[1], json.loads(sys.argv[2]), dict)
        print("created")
    except ApiError as error:
        print(error.status, error)

asyncio.run(create())
"""


class Seen:
    """The cluster's Events of the agent."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def objects(self) -> list[Mapping[str, Any]]:
        text = self._kubectl("get", "events.v1.events.k8s.io", "-A", "-o", "json")
        items: list[Mapping[str, Any]] = json.loads(text)["items"]
        return [one for one in items if one.get("reportingController") == CONTROLLER]

    def wait(self, reason: str, kind: str, name: str, word: str = "") -> Mapping[str, Any]:
        """Wait for an Event about an object whose text has a word; return it."""
        found: list[Mapping[str, Any]] = []

        def is_there() -> bool:
            found[:] = [
                one
                for one in self.objects()
                if (one["reason"], one["regarding"]["kind"], one["regarding"]["name"])
                == (reason, kind, name)
                and word in one["note"]
            ]
            return bool(found)

        try:
            eventually(is_there, what="the Event", deadline_s=60)
        except AssertionError:
            notes = [(one["reason"], one["regarding"], one["note"]) for one in self.objects()]
            raise AssertionError(f"no {reason} on {kind} {name} with {word!r}: {notes}") from None
        return found[0]


@pytest.fixture(scope="module")
def observed(uninstalled: DaemonSet, history: History) -> DaemonSet:
    """The shipped overlay, with two pools."""
    folder = uninstalled.cluster.places.state / "events"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(msgspec.json.encode(TWO_POOLS))
    chosen = overlay(
        folder,
        base="overlays/events",
        components=("node-condition",),
        configMapGenerator=[CONFIG_MAP],
    )
    uninstalled.wait_ready(since=uninstalled.apply(chosen))
    for name, full in FULL.items():
        history.wait_for(name, full, full)
    return uninstalled


def condition(kubectl: Kubectl) -> Mapping[str, str]:
    """The node's condition; empty if it has none."""
    found = json.loads(kubectl("get", "node", NODE, "-o", "json"))["status"]["conditions"]
    return next((one for one in found if one["type"] == CONDITION), {})


@pytest.fixture
def seen(observed: DaemonSet, kubectl: Kubectl) -> Iterator[Seen]:
    yield Seen(kubectl)
    if not observed.pods():
        return  # a test has removed it
    observed.configure(json.dumps(TWO_POOLS))
    observed.wait(
        lambda: not observed.status().supervisor.problems, what="nothing is refused any more"
    )


def test_a_fault_is_on_the_node_and_on_the_pod(
    seen: Seen, bench: Bench, node: HostNode, kubectl: Kubectl, observed: DaemonSet
) -> None:
    bench.all_allocatable()
    pod = bench.pod({ATOM: 1})
    (held,) = given(pod.running(), ATOM)
    rbln = str(node.devices[held].rbln)
    observed.wait(lambda: observed.status().pools[ATOM].devices[held].pods, what="its pod is known")
    began = monotonic()
    node.set_status(rbln, 3)
    try:
        on_node = seen.wait("DeviceUnhealthy", "Node", NODE, held)
        bench.report.add("a fault is an Event on the node", held, monotonic() - began)
        on_pod = seen.wait("DeviceUnhealthy", "Pod", pod.name, held)
        eventually(lambda: condition(kubectl).get("status") == "True", what="the condition is True")
        assert held in condition(kubectl)["message"]
    finally:
        node.set_status(rbln, 0)
    seen.wait("DeviceHealthy", "Pod", pod.name, held)
    eventually(lambda: condition(kubectl)["status"] == "False", what="the condition is False again")
    assert on_node["type"] == on_pod["type"] == "Warning"
    assert "FAULT" in on_node["note"]
    assert on_node["reportingInstance"] == NODE
    assert "DeviceUnhealthy" in kubectl("describe", "node", NODE)
    assert "DeviceUnhealthy" in kubectl("describe", "pod", pod.name)
    listed = kubectl("get", "events", "-A")
    assert sum("DeviceUnhealthy" in line for line in listed.splitlines()) >= 2


def test_a_device_that_is_unplugged_is_on_the_node(
    seen: Seen, bench: Bench, node: HostNode, observed: DaemonSet
) -> None:
    bench.all_allocatable()
    device = node.devices[ATOMS[3]]
    node.remove(ATOMS[3])
    observed.ctl("rescan")  # a simulated device has no kernel events
    try:
        eventually(
            lambda: any(
                one["reason"] in {"DeviceRemoved", "DeviceUnhealthy"} and ATOMS[3] in one["note"]
                for one in seen.objects()
            ),
            what="an Event names the device",
            deadline_s=60,
        )
    finally:
        node.add(device)
        observed.ctl("rescan")


def test_a_killed_worker_and_a_refused_configuration_are_on_the_node(
    seen: Seen, bench: Bench, observed: DaemonSet
) -> None:
    bench.all_allocatable()
    pid = observed.status().pools[ATOM].worker.pid
    killed = observed.run("python3", "-c", f"import os; os.kill({pid}, 9)")
    assert killed.returncode == 0, killed.stderr
    seen.wait("PoolWorkerRestarted", "Node", NODE, "SIGKILL")
    observed.configure('{"resourceList": 3}')
    seen.wait("ConfigurationRefused", "Node", NODE, "resourceList")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"regarding": {"kind": "Node", "name": "other", "uid": "other"}}, "on node e2e"),
        ({"reportingInstance": "other"}, "rbln-agent on node e2e"),
        ({"reportingController": "kubelet"}, "rbln-agent on node e2e"),
    ],
)
def test_the_token_does_not_speak_for_others(
    seen: Seen, observed: DaemonSet, changes: Mapping[str, object], word: str
) -> None:
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"forged-{os.urandom(4).hex()}", "namespace": "default"},
        "eventTime": "2026-11-30T00:00:00.000000Z",
        "reportingController": CONTROLLER,
        "reportingInstance": NODE,
        "action": "Test",
        "reason": "Test",
        "regarding": {"kind": "Node", "name": NODE, "uid": NODE},
        "note": "forged",
        "type": "Normal",
        **changes,
    }
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    done = observed.run("python3", "-c", _CREATE, path, json.dumps(event))
    assert done.returncode == 0, done.stderr
    assert "own-events" in done.stdout
    assert word in done.stdout
    pods = observed.run("python3", "-c", _CREATE, "/api/v1/namespaces/default/pods", "{}")
    assert pods.stdout.startswith("403 "), pods.stdout


def test_the_token_changes_nothing_but_conditions_of_its_own_node(
    seen: Seen, observed: DaemonSet
) -> None:
    body = json.dumps({"status": {"capacity": {"rebellions.ai/forged": "1"}}})
    done = observed.run("python3", "-c", _PATCH, f"/api/v1/nodes/{NODE}/status", body)
    assert "only conditions may change" in done.stdout, done
    done = observed.run("python3", "-c", _PATCH, f"/api/v1/nodes/{NODE}", '{"spec": {}}')
    assert done.stdout.startswith("403 "), done


def test_the_condition_goes_with_the_agent(
    seen: Seen, observed: DaemonSet, kubectl: Kubectl
) -> None:
    eventually(lambda: condition(kubectl), what="it is there")
    # Alone: without its role the agent may not remove it.
    kubectl("delete", "daemonset", NAME, "--namespace", NAMESPACE)
    observed.wait(lambda: not observed.pods(), what="its pods are gone")
    assert condition(kubectl) == {}
