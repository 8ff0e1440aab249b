"""The plugin's pod of each node, and rbln-ctl in it, by kubectl; several nodes at a time."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.control.protocol import ErrorReply
from rbln_supervisor.ctl.command import Exit
from rbln_worker.contract.errors import RblnError

MAX_PARALLEL: Final = 32
"""Each node takes a process of kubectl and a connection to the API server."""
_EXITED: Final = "command terminated with exit code"
"""kubectl exec writes this if the command ran and failed; any other failure is kubectl's own."""


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


class KubectlError(RblnError):
    """kubectl could not be run, or refused; the text is its own."""


class NodeResult(msgspec.Struct, frozen=True):
    """The result of rbln-ctl on one node."""

    node: str
    pod: str = ""
    exit_code: int = Exit.UNREACHABLE
    result: msgspec.Raw | None = None
    """JSON of rbln-ctl; None if there is none."""
    problem: str = ""
    """Reason for the missing result."""


def read_result(without: NodeResult, output: bytes) -> NodeResult:
    """Return the result with the output of rbln-ctl, or with the errors that the output names."""
    try:
        refusal = msgspec.json.decode(output, type=ErrorReply)
    except msgspec.ValidationError:  # any other JSON
        return msgspec.structs.replace(without, result=msgspec.Raw(output), problem="")
    except msgspec.DecodeError:
        return without
    return msgspec.structs.replace(without, problem="; ".join(refusal.errors))


class Kubectl:
    """kubectl with the user's choice of cluster."""

    def __init__(self, options: Sequence[str], namespace: str, timeout_s: float) -> None:
        """Take options of kubectl, the plugin's namespace (empty: any), and seconds for a call."""
        self._options = tuple(options)
        self._namespace = namespace
        self._timeout_s = timeout_s

    def find_pods(self, nodes: Iterable[str], selector: str) -> Mapping[str, PluginPod | None]:
        """Return the plugin's pod of each node, None where there is none.

        Args:
            nodes: names; empty for all.
            selector: a label selector of nodes; empty for all.

        Raises:
            KubectlError: kubectl failed.
        """
        where = ("--namespace", self._namespace) if self._namespace else ("--all-namespaces",)
        try:
            pods = plugin_pods(self._get_objects("pods", *where, "--selector", SELECTOR))
            names = set(nodes) or None
            if selector:
                labelled = node_names(self._get_objects("nodes", "--selector", selector))
                names = set(labelled if names is None else names & labelled)
        except msgspec.MsgspecError as error:
            raise KubectlError(f"kubectl printed no list of objects: {error}") from error
        return choose_pods(pods, names)

    def ask_nodes(
        self, pods: Mapping[str, PluginPod | None], arguments: Sequence[str]
    ) -> tuple[NodeResult, ...]:
        """Run rbln-ctl in each pod; return the results, in the order of the pods."""
        with ThreadPoolExecutor(min(MAX_PARALLEL, len(pods))) as threads:
            return tuple(
                threads.map(lambda node: self._ask_node(node, pods[node], arguments), pods)
            )

    def _ask_node(self, node: str, pod: PluginPod | None, arguments: Sequence[str]) -> NodeResult:
        if pod is None:
            return NodeResult(node, problem="it has no pod of the device plugin")
        name = f"{pod.namespace}/{pod.name}"
        if pod.obstacle:
            return NodeResult(node, name, problem=pod.obstacle)
        place = ("exec", "--namespace", pod.namespace, pod.name, "--")
        try:
            done = self._run_kubectl(*place, "rbln-ctl", "--json", *arguments)
        except KubectlError as error:
            return NodeResult(node, name, problem=str(error))
        lines = done.stderr.decode(errors="replace").splitlines()
        said = [line for line in lines if line and not line.startswith(_EXITED)]
        problem = said[-1] if said else f"no output, exit code {done.returncode}"
        if done.returncode and not any(_EXITED in line for line in lines):
            return NodeResult(node, name, problem=problem)
        return read_result(NodeResult(node, name, done.returncode, problem=problem), done.stdout)

    def _get_objects(self, kind: str, *arguments: str) -> bytes:
        done = self._run_kubectl("get", kind, *arguments, "--output", "json")
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise KubectlError(said or f"kubectl get failed with exit code {done.returncode}")
        return done.stdout

    def _run_kubectl(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(  # noqa: S603 - no shell; rbln-ctl checks its arguments
                ("kubectl", verb, *self._options, *arguments),  # noqa: S607 - as the user runs it
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=self._timeout_s,
            )
        except FileNotFoundError as error:
            raise KubectlError("kubectl is not in PATH") from error
        except OSError as error:
            raise KubectlError(f"kubectl can't be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"no answer within {self._timeout_s:g} s") from error
