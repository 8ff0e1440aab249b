"""What the pod may do and what it sees: all that the code needs, and nothing that it doesn't."""

import json
import re
from pathlib import Path, PurePosixPath

import pytest

from rbln_supervisor.cli import parse_arguments
from rbln_supervisor.config import config_file
from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.control.protocol import CONTROL_SOCKET
from rbln_supervisor.core.run_dir_check import TERMINATION_LOG
from rbln_supervisor.ctl.client import REQUEST_TIMEOUT_S
from rbln_supervisor.ctl.command import Exit
from rbln_supervisor.ctl.main import main as rbln_ctl
from rbln_supervisor.ctl.probe_command import READY_TIMEOUT_S
from rbln_supervisor.options import Options
from rbln_worker.core.allocation import cdi, devinfo
from rbln_worker.host.facts import HOST_FILES
from rbln_worker.spec import SERVICE_ACCOUNT
from tests.manifests.objects import (
    API_KINDS,
    KUSTOMIZE,
    NAMES,
    REPOSITORY,
    Key,
    Object,
    container,
    of_kind,
    pod,
    values_of,
)


def mounts(found: dict[Key, Object]) -> dict[str, Object]:
    """By the path in the container: what is mounted there, and how."""
    volumes = {one["name"]: one for one in pod(found)["volumes"]}
    asked = container(found)["volumeMounts"]
    assert {one["name"] for one in asked} == volumes.keys(), "no volume without a mount"
    return {one["mountPath"]: one | volumes[one["name"]] for one in asked}


def options(found: dict[Key, Object]) -> Options:
    """The flags, as the program that they are for reads them."""
    return parse_arguments(container(found)["args"], in_container=True)


def written(found: dict[Key, Object]) -> set[str]:
    """Folders in which files or sockets are made, from the code's own constants."""
    chosen = options(found)
    way = "kubelet-sock" if chosen.registration == "auto" else chosen.registration
    folders = {str(chosen.kubelet_dirs.by_registration[way])}
    if uses_dra(found):
        folders |= {str(chosen.kubelet_dirs.plugins), str(chosen.kubelet_dirs.plugins_registry)}
    # Specs also without --use-cdi: for pods that had it.
    return folders | {str(chosen.run_dir), devinfo.FOLDER, cdi.FOLDER}


def uses_dra(found: dict[Key, Object]) -> bool:
    """A pool is exported by DRA."""
    (text,) = of_kind(found, "ConfigMap")["data"].values()
    return any(one.get("export") == "dra" for one in json.loads(text)["resourceList"])


def uses_events(found: dict[Key, Object]) -> bool:
    """rbln-agent runs."""
    return {"name": "RBLN_EVENTS", "value": "true"} in container(found)["env"]


def has_token(found: dict[Key, Object]) -> bool:
    """Something calls the API server."""
    return uses_dra(found) or uses_events(found)


def read(found: dict[Key, Object]) -> set[str]:
    """Folders in which something is only read."""
    chosen = options(found)
    host_usr = f"{HOST_FILES}/usr"
    asked = {str(chosen.pod_resources_dir), str(chosen.kubelet_dir / "pods-api")}
    token = {str(SERVICE_ACCOUNT)} if has_token(found) else set()
    return {str(chosen.config_file.parent), *asked, *token, "/dev", host_usr}


def paths_in_code() -> set[str]:
    """Every path from the root that the code names in a string, by its first two parts."""
    found = set()
    for package in ("rbln_supervisor", "rbln_worker"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for text in re.findall(r"""["'](/(?:[a-z][\w.-]*/?)+)""", path.read_text()):
                found.add("/" + "/".join(PurePosixPath(text).parts[1:3]))
    return found


def test_all_that_the_code_needs_is_mounted_and_nothing_else(
    kustomized: dict[Key, Object],
) -> None:
    seen = mounts(kustomized)
    assert seen.keys() == written(kustomized) | read(kustomized)
    for path, mount in seen.items():
        assert mount.get("readOnly", False) == (path not in written(kustomized)), path
        if "hostPath" in mount:
            where = path.removeprefix(HOST_FILES)
            assert mount["hostPath"]["path"] == where, "the host's path is the container's"
            assert mount["hostPath"]["type"], path
        assert "subPath" not in mount, "what is mounted by subPath is never updated"


def test_the_code_names_no_path_that_nobody_has_thought_of() -> None:
    """A new one has to be mounted, or has a reason here why it need not be."""
    known = {
        *("/etc/pcidp", "/run/rbln", "/var/lib", "/var/run"),  # mounted
        "/dev",  # mounted
        *("/sys", "/proc"),  # every container's
        "/var/snap",  # MicroK8s: doctor looks for its kubelet's folders on the host
        "/devices",  # below /sys, as the kernel's events name devices
        "/uverbs",  # a part of a name
        *("/metrics", "/healthz", "/readyz"),  # the exporter's pages
        "/etc/rbln",  # the image's own
        "/host",  # the host's /usr is mounted there: is the vendor's status tool in it?
        "/usr/local",  # rbln-stat, rbln-smi: given to containers
        "/usr/bin",  # where a container finds them
        "/usr/sbin",  # in the search path of a tool
        *("/api", "/apis"),  # of the API server
    }
    for path in paths_in_code():
        first = "/" + PurePosixPath(path).parts[1]
        assert {path, first} & known, f"{path} is not mounted"


def test_sys_is_the_runtimes_own() -> None:
    """Read-only and whole; hostNetwork makes its interfaces the host's."""
    text = (KUSTOMIZE / "base/daemonset.yaml").read_text()
    assert "hostNetwork: true" in text
    assert "mountPath: /sys" not in text


def test_no_right_that_is_not_needed(kustomized: dict[Key, Object]) -> None:
    spec, one = pod(kustomized), container(kustomized)
    assert one["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert True not in list(values_of(kustomized_all(kustomized), "privileged"))
    assert spec["hostNetwork"] is True
    assert not {"hostPID", "hostIPC", "shareProcessNamespace"} & spec.keys()
    tokens = set(values_of(kustomized_all(kustomized), "automountServiceAccountToken"))
    assert tokens == {False}
    further = set(API_KINDS) if has_token(kustomized) else set()
    if not uses_dra(kustomized):
        further -= {"DeviceClass"}
    assert {key.kind for key in kustomized} == {
        *("ConfigMap", "DaemonSet", "ServiceAccount"),
        *further,
    }


def test_a_token_is_for_one_container(kustomized: dict[Key, Object]) -> None:
    tokens = list(values_of(kustomized_all(kustomized), "serviceAccountToken"))
    assert tokens == (
        [{"path": "token", "expirationSeconds": 3600}] if has_token(kustomized) else []
    )
    assert len(pod(kustomized)["containers"]) == 1
    assert "initContainers" not in pod(kustomized)


def test_rights_are_those_that_are_used(kustomized: dict[Key, Object]) -> None:
    if uses_dra(kustomized):
        assert rights(kustomized) == {
            ("", "nodes"): ["get"],
            ("resource.k8s.io", "resourceclaims"): ["get"],
            ("resource.k8s.io", "resourceslices"): [
                *("get", "list", "watch", "create", "update", "patch", "delete"),
            ],
        }
    elif uses_events(kustomized):
        assert rights(kustomized) == {("events.k8s.io", "events"): ["create", "patch"]}
    else:
        assert not [key for key in kustomized if key.kind in API_KINDS]


def rights(found: dict[Key, Object]) -> dict[tuple[str, ...], list[str]]:
    """The verbs of the one role, by group and resource."""
    return {
        (*one["apiGroups"], *one["resources"]): one["verbs"]
        for one in of_kind(found, "ClusterRole")["rules"]
    }


def test_rights_are_held_to_the_own_node(kustomized: dict[Key, Object]) -> None:
    if not has_token(kustomized):
        return
    account = of_kind(kustomized, "ServiceAccount")["metadata"]
    (subject,) = of_kind(kustomized, "ClusterRoleBinding")["subjects"]
    assert subject == {
        "kind": "ServiceAccount",
        "name": account["name"],
        "namespace": account["namespace"],
    }
    policy = of_kind(kustomized, "ValidatingAdmissionPolicy")
    binding = of_kind(kustomized, "ValidatingAdmissionPolicyBinding")
    assert binding["spec"] == {
        "policyName": policy["metadata"]["name"],
        "validationActions": ["Deny"],
    }
    (condition,) = policy["spec"]["matchConditions"]
    assert f'endsWith(":{account["name"]}")' in condition["expression"]
    expressions = " ".join(one["expression"] for one in policy["spec"]["validations"])
    assert "variables.tokenNode ==" in expressions or "== variables.tokenNode" in expressions


def test_the_classes_are_those_of_the_vendor(kustomized: dict[Key, Object]) -> None:
    if not uses_dra(kustomized):
        return
    names = {key.name: one["spec"] for key, one in kustomized.items() if key.kind == "DeviceClass"}
    driver = "npu.rebellions.ai"
    assert {one.get("extendedResourceName") for one in names.values()} == {
        None,
        "rebellions.ai/npu",
    }
    assert names.keys() == {driver, f"claims.{driver}"}
    for spec in names.values():
        assert spec["selectors"] == [{"cel": {"expression": f'device.driver == "{driver}"'}}]
    (pool,) = json.loads(of_kind(kustomized, "ConfigMap")["data"]["config.json"])["resourceList"]
    assert f"{pool['resourceName']}.{pool['resourcePrefix']}" == driver


def kustomized_all(found: dict[Key, Object]) -> list[Object]:
    return list(found.values())


def test_names_are_the_references(kustomized: dict[Key, Object]) -> None:
    assert {key for key in kustomized if key.kind not in API_KINDS} == {
        Key("ConfigMap", "kube-system", "rbln-device-plugin-config"),
        Key("DaemonSet", "kube-system", "rbln-device-plugin"),
        Key("ServiceAccount", "kube-system", "rbln-device-plugin"),
    }
    daemons = of_kind(kustomized, "DaemonSet")
    assert daemons["spec"]["selector"] == {"matchLabels": {"name": "rbln-device-plugin"}}
    assert {"tier": "node", "app": "rbln-device-plugin"}.items() <= daemons["metadata"][
        "labels"
    ].items()
    assert container(kustomized)["name"] == "device-plugin"


def test_what_refers_to_something_finds_it(kustomized: dict[Key, Object]) -> None:
    daemons, spec = of_kind(kustomized, "DaemonSet"), pod(kustomized)
    labels = daemons["spec"]["template"]["metadata"]["labels"]
    assert daemons["spec"]["selector"]["matchLabels"].items() <= labels.items()
    namespace = daemons["metadata"]["namespace"]
    assert Key("ServiceAccount", namespace, spec["serviceAccountName"]) in kustomized
    (name,) = (one["configMap"]["name"] for one in spec["volumes"] if "configMap" in one)
    data = kustomized[Key("ConfigMap", namespace, name)]["data"]
    assert options(kustomized).config_file.name in data


def test_an_image_has_a_version(kustomized: dict[Key, Object]) -> None:
    (image,) = set(values_of(kustomized_all(kustomized), "image"))
    assert re.fullmatch(r"[a-z0-9./-]+:[0-9]+\.[0-9]+\.[0-9]+", str(image))


def test_the_pools_are_right_and_need_no_indulgence(kustomized: dict[Key, Object]) -> None:
    (text,) = of_kind(kustomized, "ConfigMap")["data"].values()
    json.loads(text)  # what the reference reads, too
    read_as = node_config.require_valid(
        node_config.parse(text.encode(), prefix=options(kustomized).resource_prefix)
    )
    assert read_as.warnings == ()
    assert {pool.spec.prefix for pool in read_as.pools} == {"rebellions.ai"}


def pools(path: Path) -> tuple[object, ...]:
    return node_config.parse(config_file.read_file(path), prefix="intel.com").pools


def test_the_pools_are_those_of_the_samples() -> None:
    of_base = pools(KUSTOMIZE / "base/config.json")
    assert of_base == pools(REPOSITORY / "conf/atom.json")
    both = pools(REPOSITORY / "conf/atom-and-vm.json")
    assert pools(KUSTOMIZE / "overlays/vfio/config.json") == both[1:]
    assert pools(KUSTOMIZE / "overlays/npu-sriov/config.json")[:1] == of_base


@pytest.mark.parametrize("name", NAMES)
def test_rbln_ctl_says_so_too(name: str) -> None:
    file = KUSTOMIZE / "overlays" / name / "config.json"
    file = file if file.exists() else KUSTOMIZE / "base/config.json"
    assert rbln_ctl(["validate", str(file)]) == Exit.DONE


def test_only_the_cdi_overlay_uses_cdi(kustomized: dict[Key, Object], overlay: str) -> None:
    assert (options(kustomized).cdi != "off") == (overlay == "cdi")


def test_an_update_never_takes_a_resource_away(kustomized: dict[Key, Object]) -> None:
    assert of_kind(kustomized, "DaemonSet")["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    one = container(kustomized)
    # A port on the node's network is taken on the node: the new pod would wait for the old one to
    # go, which waits for the new one.
    assert "ports" not in one
    # Each of two instances has its own lock: a folder of the host would be shared.
    assert "emptyDir" in mounts(kustomized)[str(options(kustomized).run_dir)]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert one[kind]["exec"]["command"][:2] == ["rbln-ctl", "probe"], kind
        assert one[kind]["timeoutSeconds"] >= 5, kind
    # Who is ended has no words: of one that hangs the kubelet shall hear that it does.
    assert one["readinessProbe"]["timeoutSeconds"] > READY_TIMEOUT_S + 1
    assert one["livenessProbe"]["timeoutSeconds"] > REQUEST_TIMEOUT_S + 1
    assert pod(kustomized)["terminationGracePeriodSeconds"] >= 10


def test_files_of_the_container_that_must_be_writable_are(kustomized: dict[Key, Object]) -> None:
    run = str(options(kustomized).run_dir)
    one = container(kustomized)
    # The kubelet mounts it there before the program starts, which knows it by its name.
    assert PurePosixPath(one["terminationMessagePath"]) == PurePosixPath(run, TERMINATION_LOG)
    assert len(f"{run}/{CONTROL_SOCKET}") < 107
