"""The ConfigMap: wrong ones, edited ones, and what else people mount in its place."""

import base64
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Final

import msgspec
import pytest

from tests.e2e.cluster.api import Object
from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.config import SYNC_PERIOD_S
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.plugin_pod import PluginPod, volume
from tests.e2e.cluster.pods import given
from tests.manifests.objects import KUSTOMIZE
from tests.system.scene import ATOM, ATOM_POOL, ATOMS, TWO_POOLS, VM, VM_POOL, config, pool

SHIPPED: Final = (KUSTOMIZE / "base/config.json").read_text()
MAX_CONFIG_MAP_BYTES: Final = 1024 * 1024 - 200
"""The API server's limit is 1 MiB for all keys together."""

WRONG: Final[Mapping[str, tuple[Object, str]]] = {
    "without the key": ({"data": {"other.json": SHIPPED}}, "/etc/pcidp/config.json"),
    "empty": ({"data": {"config.json": ""}}, "the file is empty"),
    "binary": (
        {"binaryData": {"config.json": base64.b64encode(bytes(range(256))).decode()}},
        "no YAML: unacceptable character",
    ),
    "text in place of a list": (
        {"data": {"config.json": SHIPPED.replace('["1eff"]', '"1eff"')}},
        "resourceList[0].selectors.vendors: expected array, got string",
    ),
    "no JSON": ({"data": {"config.json": SHIPPED.replace("[", "(", 1)}}, "line"),
    "1 MiB of brackets": (
        {"data": {"config.json": "[" * MAX_CONFIG_MAP_BYTES}},
        "rbln-supervisor: ",
    ),
}


@pytest.fixture
def with_config_map(
    cluster: Cluster, kubectl: Kubectl, node: HostNode, uninstalled: DaemonSet
) -> Iterator[Callable[[Object], PluginPod]]:
    """A pod of the plugin's with a ConfigMap or Secret of any content."""
    created: list[str] = []

    def make(content: Object) -> PluginPod:
        kind = str(content.get("kind", "ConfigMap"))
        path = f"/api/v1/namespaces/default/{kind.lower()}s"
        cluster.api.call(
            "POST",
            path,
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": "given"}, **content},
        )
        created.append(f"{path}/given")

        def change(spec: Object) -> None:
            volume(spec, "config").update(
                {"secret": {"secretName": "given"}}
                if kind == "Secret"
                else {"configMap": {"name": "given"}}
            )

        return PluginPod(cluster, kubectl, "configured", change)

    yield make
    for path in created:
        cluster.api.call("DELETE", path)


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_config_map_is_named_where_people_look(
    with_config_map: Callable[[Object], PluginPod], bench: Bench, what: str
) -> None:
    content, words = WRONG[what]
    with with_config_map(content) as pod:
        message = pod.refusal()
        assert message.startswith("rbln-supervisor: /etc/pcidp/config.json: "), message
        assert words in message
        pod.wait_event(message.splitlines()[0][:60])
    bench.report.add(f"ConfigMap: {what}", message.splitlines()[-1][:200])


def test_two_keys_are_one_file_and_another(
    with_config_map: Callable[[Object], PluginPod], bench: Bench
) -> None:
    content = {"data": {"config.json": SHIPPED, "notes.txt": "not a configuration"}}
    with with_config_map(content) as pod:
        pod.wait_ready()
    bench.report.add("ConfigMap: two keys", "Ready; the one that --config-file names is read")


def test_a_configuration_of_one_mebibyte(
    with_config_map: Callable[[Object], PluginPod], bench: Bench
) -> None:
    large = SHIPPED + " " * (MAX_CONFIG_MAP_BYTES - len(SHIPPED))
    with with_config_map({"data": {"config.json": large}}) as pod:
        pod.wait_ready()
    bench.report.add("ConfigMap: a right configuration of 1 MiB", "Ready")


def test_a_secret_in_its_place(
    with_config_map: Callable[[Object], PluginPod], bench: Bench
) -> None:
    with with_config_map({"kind": "Secret", "stringData": {"config.json": SHIPPED}}) as pod:
        pod.wait_ready()
    bench.report.add("a Secret mounted in the ConfigMap's place", "Ready")


class TestEdits:
    """Of the DaemonSet's ConfigMap, while it serves."""

    def test_an_edit_is_reloaded_in_place(self, installed: DaemonSet, bench: Bench) -> None:
        pod = installed.pod()
        edited = installed.configure(_text(config(ATOM_POOL)))
        gone = bench.history.wait(
            VM, lambda count: count.allocatable == 0, what="the pool has left", since=edited
        )
        assert installed.pod() == pod
        assert installed.container_status()["restartCount"] == 0
        edited_again = installed.configure(_text(TWO_POOLS))
        back = bench.history.wait_for(VM, FULL[VM], FULL[VM], since=edited_again)
        bench.report.add(
            "kubectl edit configmap: a pool removed",
            f"reloaded in place (the kubelet projects every {SYNC_PERIOD_S:.0f} s here, every "
            "minute by default)",
            gone - edited,
        )
        bench.report.add("… and added again", "listed", back - edited_again)

    def test_a_wrong_edit_is_refused_and_said(self, installed: DaemonSet, bench: Bench) -> None:
        began = monotonic()
        words = "resourceList[0].selectors.drivers"
        installed.configure(_text(TWO_POOLS).replace('["rebellions"]', '"rebellions"'))
        seconds = installed.wait(
            lambda: words in installed.run("rbln-ctl", "status").stdout,
            what="status says what is wrong",
        )
        assert bench.history.counts(ATOM, began) == bench.history.counts(ATOM, began)[:1]
        self._undo(installed)
        bench.report.add(
            "kubectl edit configmap: text where a list has to be",
            "refused, rbln-ctl status says where; both pools serve on",
            seconds,
        )

    def test_an_edit_that_takes_a_device_from_a_pod_is_refused(
        self, installed: DaemonSet, bench: Bench
    ) -> None:
        container = bench.pod({ATOM: 1}).running()
        (held,) = given(container, ATOM)
        others = [device for device in ATOMS if device != held]
        smaller = pool("ATOM", drivers=["rebellions"], pciAddresses=others, allowCrossNuma=True)
        with bench.untouched(container, resources=(ATOM, VM)):
            installed.configure(_text(config(smaller, VM_POOL)))
            installed.wait(
                lambda: self._refusal(installed, held), what="status names the device and its pod"
            )
        text = self._refusal(installed, held)
        assert held in installed.run("rbln-ctl", "status").stdout
        self._undo(installed)
        bench.report.add(
            "an edit that would take a device from a running pod",
            f"refused; kubectl exec … rbln-ctl status: {text}",
        )

    def _refusal(self, installed: DaemonSet, device: str) -> str:
        """The problem in the status that names a device and a pod; empty until there is one."""
        problems = installed.status().supervisor.problems
        texts = (each.text for each in problems)
        return next((text for text in texts if device in text and "pod default/" in text), "")

    def _undo(self, installed: DaemonSet) -> None:
        installed.configure(_text(TWO_POOLS))
        installed.wait(
            lambda: not installed.status().supervisor.problems, what="the file is right again"
        )


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
