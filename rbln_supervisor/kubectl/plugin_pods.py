"""The plugin's pods, from the JSON of ``kubectl get pods``: one for each node."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

SELECTOR = "app.kubernetes.io/name=rbln-device-plugin"
"""Label of the pods; set by deployments/kubernetes and by the chart."""


class PluginPod(NamedTuple):
    """A pod of the device plugin."""

    namespace: str
    name: str
    obstacle: str = ""
    """Reason why no command can run in it; empty if it runs."""


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""


class _Waiting(msgspec.Struct, frozen=True):
    reason: str = ""


class _State(msgspec.Struct, frozen=True):
    waiting: _Waiting | None = None


class _Container(msgspec.Struct, frozen=True):
    state: _State = _State()


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    container_statuses: tuple[_Container, ...] = ()


class _Pod(msgspec.Struct, frozen=True):
    """A pod; of a node only the metadata."""

    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _PodList(msgspec.Struct, frozen=True):
    items: tuple[_Pod, ...] = ()


def plugin_pods(raw: bytes) -> Mapping[str, PluginPod]:
    """Return the pod to ask on each node, by the node's name.

    In an update a node has two: the newest one that runs is taken.

    Raises:
        msgspec.MsgspecError: The bytes are no list of pods.
    """
    pods = msgspec.json.decode(raw, type=_PodList).items
    placed = [pod for pod in pods if pod.spec.node_name]
    placed.sort(key=lambda pod: (_obstacle_of(pod) == "", pod.metadata.creation_timestamp))
    return {
        pod.spec.node_name: PluginPod(pod.metadata.namespace, pod.metadata.name, _obstacle_of(pod))
        for pod in placed
    }


def node_names(raw: bytes) -> frozenset[str]:
    """Return the names of the nodes in the JSON of ``kubectl get nodes``.

    Raises:
        msgspec.MsgspecError: The bytes are no list of nodes.
    """
    return frozenset(one.metadata.name for one in msgspec.json.decode(raw, type=_PodList).items)


def choose_pods(
    pods: Mapping[str, PluginPod], names: Iterable[str] | None
) -> Mapping[str, PluginPod | None]:
    """Return the pods of the chosen nodes, sorted; None for a node without one.

    Args:
        pods: the plugin's pods, by node.
        names: names of nodes; None: all nodes that have a pod.
    """
    return {node: pods.get(node) for node in sorted(pods if names is None else names)}


def _obstacle_of(pod: _Pod) -> str:
    if pod.metadata.deletion_timestamp:
        return f"its pod {pod.metadata.name} is being deleted"
    waiting = [
        one.state.waiting.reason for one in pod.status.container_statuses if one.state.waiting
    ]
    if pod.status.phase != "Running" or waiting:
        state = " ".join([pod.status.phase, *waiting])
        return f"its pod {pod.metadata.name} does not run: {state}"
    return ""
