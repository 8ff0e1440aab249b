"""kubectl and Helm render the same objects, and every API server from 1.25 on would take them."""

import re
from pathlib import Path

import kubernetes_validate
import pytest

from rbln_supervisor.exporter import main as exporter
from rbln_worker.contract.version import VERSION
from tests.manifests.objects import (
    API_KINDS,
    CHART,
    KUSTOMIZE,
    NAMES,
    Key,
    Object,
    comparable,
    container,
    objects,
    of_kind,
    pod,
)
from tests.manifests.tools import Tools

OLDEST = (1, 25)


def versions() -> list[str]:
    """Those that the validator has a schema of, from the oldest that we name on."""
    schemas = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    found = {
        folder.name.removeprefix("v").removesuffix(".0-local-strict")
        for folder in schemas.glob("v1.*-local-strict")
    }
    return sorted(found, key=lambda text: [int(part) for part in text.split(".")])


def test_the_validator_has_many_versions_and_the_chart_names_the_oldest() -> None:
    known = [tuple(map(int, text.split("."))) for text in versions()]
    assert known[0] == OLDEST
    assert len(known) >= 13
    assert f'kubeVersion: ">={versions()[0]}.0-0"' in (CHART / "Chart.yaml").read_text()


def test_the_chart_is_the_overlay(
    kustomized: dict[Key, Object], templated: dict[Key, Object]
) -> None:
    assert comparable(templated) == comparable(kustomized)


def test_every_version_takes_the_objects(kustomized: dict[Key, Object]) -> None:
    for version in versions():
        for one in kustomized.values():
            if API_KINDS.get(one["kind"], OLDEST) <= tuple(map(int, version.split("."))):
                kubernetes_validate.validate(one, version, strict=True)


def test_the_validator_would_notice(kustomized: dict[Key, Object]) -> None:
    broken = of_kind(kustomized, "DaemonSet")
    container(kustomized)["readonlyRootFilesystem"] = True
    for version in versions():
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, version, strict=True)


def test_every_values_file_is_an_overlay() -> None:
    assert {path.stem for path in (CHART / "values").iterdir()} == set(NAMES) - {"npu"}


def test_the_npu_overlay_is_the_base(tools: Tools) -> None:
    base = objects(tools.kustomize(KUSTOMIZE / "base"))
    assert base == objects(tools.kustomize(KUSTOMIZE / "overlays/npu"))


def test_the_image_is_of_this_version() -> None:
    chart = (CHART / "Chart.yaml").read_text()
    assert f"\nversion: {VERSION}\n" in chart
    assert f"\nappVersion: {VERSION}\n" in chart
    base = (KUSTOMIZE / "base/daemonset.yaml").read_text()
    assert f"image: rbln-device-plugin:{VERSION}\n" in base


def test_node_feature_discovery_is_the_same_in_both(tools: Tools, tmp_path: Path) -> None:
    ours = composed(tools, tmp_path, "nfd")
    theirs = objects(tools.template(CHART, "--set", "nodeFeatureDiscovery.enabled=true"))
    assert pod(ours)["affinity"]["nodeAffinity"]
    assert comparable(ours) == comparable(theirs)


def test_selinux_is_the_same_in_both(tools: Tools, tmp_path: Path) -> None:
    ours = composed(tools, tmp_path, "selinux")
    theirs = objects(
        tools.template(CHART, "--set", "seLinuxOptions.type=container_device_plugin_t")
    )
    assert container(ours)["securityContext"]["seLinuxOptions"]
    assert comparable(ours) == comparable(theirs)


def test_a_capability_is_the_same_in_both(tools: Tools, tmp_path: Path) -> None:
    ours = composed(tools, tmp_path, "net-admin")
    theirs = objects(tools.template(CHART, "--set", "capabilities.add={NET_ADMIN}"))
    assert container(ours)["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
    assert comparable(ours) == comparable(theirs)


def test_the_nodes_condition_is_the_same_in_both(tools: Tools, tmp_path: Path) -> None:
    ours = composed(tools, tmp_path, "api-token", "events", "node-condition")
    chosen = ("events.enabled=true", "events.nodeCondition=RblnDevicesUnhealthy")
    theirs = objects(tools.template(CHART, *(word for one in chosen for word in ("--set", one))))
    assert comparable(ours) == comparable(theirs)
    roles = {key.name: one["rules"] for key, one in ours.items() if key.kind == "ClusterRole"}
    assert roles["rbln-device-plugin-node-condition"] == [
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]}
    ]


def composed(tools: Tools, folder: Path, *components: str) -> dict[Key, Object]:
    """The base with components, as somebody's own kustomization has it."""
    copy = folder / "kubernetes"
    for path in (*KUSTOMIZE.glob("base/*"), *KUSTOMIZE.glob("components/*/*")):
        place = copy / path.relative_to(KUSTOMIZE)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    (copy / "mine").mkdir()
    (copy / "mine/kustomization.yaml").write_text(
        "resources: [../base]\n"
        f"components: [{', '.join(f'../components/{one}' for one in components)}]\n"
    )
    return objects(tools.kustomize(copy / "mine"))


# The chart's values


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "registration=kubelet"), "registration"),
        (("--set", "useCDI=true"), "useCDI"),
        (("--set", "image.tag=latest"), "tag"),
        (("--set", "maxSurge=0"), "maxSurge"),
        (("--set", "kubeletDir=var/lib/kubelet"), "kubeletDir"),
        (("--set", "devicePluginsDir=device-plugins"), "devicePluginsDir"),
        (("--set-json", 'config={"resourceList":[]}'), "resourceList"),
        (("--set", "useCdi=perhaps"), "useCdi"),
        (("--set", "dra.enabled=maybe"), "dra"),
        (("--set", "dra.driver=Npu"), "driver"),
        (("--set", "events.enabled=maybe"), "events"),
        (("--set", "events.nodeCondition=a b"), "nodeCondition"),
        (("--set", "dra.extendedResourceName=npu"), "extendedResourceName"),
        (("--set", "capabilities.add={SYS_ADMIN}"), "capabilities"),
        (("--set", "podLabels.name=mine"), "podLabels"),
        (("--set", "exporterListen=9420"), "exporterListen"),
        (("--set", "exporterListen=::1:9420"), "exporterListen"),
        (("--set", "podMonitor.enabled=true"), "nobody but the node itself"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    tools: Tools, words: tuple[str, ...], said: str
) -> None:
    done = tools.helm("template", "rbln-device-plugin", str(CHART), *words)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_chart_passes_helms_own_check(tools: Tools) -> None:
    done = tools.helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_other_places_of_the_kubelet(tools: Tools) -> None:
    found = objects(
        tools.template(
            CHART,
            *("--set", "kubeletDir=/var/lib/k0s/kubelet", "--set", "registration=plugin-watcher"),
            *("--set", "configFile=$(NODE_NAME)", "--set", "existingConfigMap=by-node"),
            *("--set", "extraArgs={--log-format=json,--gone-grace=60}"),
        )
    )
    assert [key.kind for key in found] == ["ServiceAccount", "DaemonSet"]
    volumes = {one["name"]: one for one in pod(found)["volumes"]}
    assert (
        volumes["plugins-registry"]["hostPath"]["path"] == "/var/lib/k0s/kubelet/plugins_registry"
    )
    assert volumes["pod-resources"]["hostPath"]["path"] == "/var/lib/k0s/kubelet/pod-resources"
    assert volumes["device-plugins"]["hostPath"]["path"] == "/var/lib/kubelet/device-plugins"
    assert volumes["config"]["configMap"]["name"] == "by-node"
    assert container(found)["args"] == [
        "--config-file=/etc/pcidp/$(NODE_NAME)",
        *("--registration=plugin-watcher", "--log-format=json", "--gone-grace=60"),
    ]
    kubernetes_validate.validate(of_kind(found, "DaemonSet"), versions()[-1], strict=True)


def test_a_pod_monitor_without_a_port_of_the_pod(tools: Tools) -> None:
    found = objects(
        tools.template(
            CHART,
            *("--set", "podMonitor.enabled=true", "--set", "podMonitor.labels.release=prometheus"),
            *("--set", "exporterListen=0.0.0.0:9421"),
        )
    )
    monitor = of_kind(found, "PodMonitor")
    labels = of_kind(found, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert "port" not in endpoint
    assert [_address(endpoint, ip) for ip in ("10.0.0.7", "fd00::7")] == [
        "10.0.0.7:9421",
        "[fd00::7]:9421",
    ]
    assert listens(found) == "0.0.0.0:9421"


def test_the_exporter_listens_where_it_does_by_itself(kustomized: dict[Key, Object]) -> None:
    assert listens(kustomized) == exporter.LISTEN


def listens(found: dict[Key, Object]) -> str:
    """What the exporter is told."""
    environment = {one["name"]: one.get("value") for one in container(found)["env"]}
    return str(environment[exporter.LISTEN_VARIABLE])


def _address(endpoint: Object, ip: str) -> str:
    """What Prometheus makes of a pod's address: the last rule whose whole pattern matches."""
    address = ip
    for rule in endpoint["relabelings"]:
        if rule["targetLabel"] == "__address__" and (found := re.fullmatch(rule["regex"], ip)):
            address = rule["replacement"].replace("${1}", found[1])
    return address
