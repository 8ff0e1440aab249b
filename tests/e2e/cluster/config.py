"""The configuration files and command lines of the cluster's parts."""

import json
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.cluster.images import PAUSE
from tests.e2e.cluster.setting import KUBELET_DIR, NODE, Places

TOKEN: Final = "e2e"  # noqa: S105 - of an API server that only listens on loopback
LOOPBACK: Final = "127.0.0.1"
API_ADDRESS: Final = "10.245.0.1"
"""The first address of the services' range, as pods know the API server. There is no kube-proxy:
the server itself listens at it, on the loopback interface."""
API_PORT: Final = 443
STATUS_PERIOD_S: Final = 0.2
"""How often the kubelet compares its node status and reports a change. By default it is 10 s: a
real cluster sees changes later than this one, and dips that are shorter not at all."""
SYNC_PERIOD_S: Final = 5.0
"""How often the kubelet projects ConfigMaps and Secrets again; a minute by default."""
SUBNET: Final = "10.244.77.0/24"
"""Of pods with a network of their own; the addresses exist in their namespaces and on the bridge
device between them and this machine."""


class Ports(NamedTuple):
    """Of one cluster."""

    etcd: int
    etcd_peer: int
    scheduler: int
    controllers: int
    kubelet: int
    health: int


def free_ports() -> Ports:
    """Ports that nobody uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in Ports._fields]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return Ports(*(each.getsockname()[1] for each in sockets))


def containerd(places: Places, plugins: Path) -> str:
    """Everything in folders of the suite; CDI is on, as it is by default since 2.0.

    ``base_runtime_spec`` gives every container the simulated /sys in the place of the kernel's, so
    that manifests are applied exactly as they are shipped.
    """
    state = places.state / "containerd"
    return f"""\
version = 3
root = "{state}/root"
state = "{state}/state"
[grpc]
  address = "{places.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/opt"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
  enable_cdi = true
  disable_apparmor = true
  # Where this process may not lower its own score, neither may its containers.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}", "{places.multus}"]
    conf_dir = "{places.state}/network"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "{places.state}/base-spec.json"
"""


def base_spec(default: str, sys: Path) -> str:
    """Containerd's own default for containers, with another /sys."""
    spec = json.loads(default)
    for mount in spec["mounts"]:
        if mount["destination"] == "/sys":
            mount |= {"type": "bind", "source": str(sys), "options": ["bind", "nosuid", "ro"]}
    return json.dumps(spec)


def network(places: Places) -> str:
    """Pods that are not on the host's network have a veth pair to it."""
    ipam = {"type": "host-local", "subnet": SUBNET, "dataDir": f"{places.state}/addresses"}
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    return json.dumps({"cniVersion": "0.4.0", "name": "e2e", "plugins": [plugin]})


def etcd(places: Places, ports: Ports) -> Sequence[str | Path]:
    """One member. It need not survive a crash: nothing waits for the disk."""
    client, peer = (f"http://{LOOPBACK}:{port}" for port in (ports.etcd, ports.etcd_peer))
    return (
        *(places.runtime / "etcd", "--name", NODE, "--data-dir", places.state / "etcd"),
        "--unsafe-no-fsync",
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"{NODE}={peer}"),
    )


def api_server(places: Places, ports: Ports) -> Sequence[str | Path]:
    """RBAC and admission are those of every cluster; the suite's own token may do everything."""
    keys = places.state / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    (keys / "tokens.csv").write_text(f"{TOKEN},admin,1,system:masters\n")
    return (
        places.kubernetes / "kube-apiserver",
        f"--etcd-servers=http://{LOOPBACK}:{ports.etcd}",
        *(f"--bind-address={API_ADDRESS}", f"--secure-port={API_PORT}", f"--cert-dir={keys}"),
        *(f"--token-auth-file={keys}/tokens.csv", "--authorization-mode=Node,RBAC"),
        f"--service-account-issuer=https://{NODE}",
        *(f"--service-account-{use}-file={keys}/apiserver.key" for use in ("signing-key", "key")),
        *("--service-cluster-ip-range=10.245.0.0/24", "--endpoint-reconciler-type=none"),
        "--allow-privileged",
    )


def controllers(places: Places, ports: Ports) -> Sequence[str | Path]:
    """DaemonSets, Deployments and service accounts work; nothing of clouds or certificates."""
    off = ("nodeipam", "bootstrapsigner", "tokencleaner", "csrsigning", "csrapproving")
    names = ",".join(["*", *(f"-{name}" for name in (*off, "csrcleaner"))])
    return (
        places.kubernetes / "kube-controller-manager",
        *(f"--kubeconfig={places.state}/kubeconfig", "--leader-elect=false"),
        *(f"--bind-address={LOOPBACK}", f"--secure-port={ports.controllers}"),
        f"--cert-dir={places.state}/keys/controllers",
        "--authentication-skip-lookup=true",
        *(f"--controllers={names}", "--use-service-account-credentials=false"),
        f"--service-account-private-key-file={places.state}/keys/apiserver.key",
        f"--root-ca-file={places.state}/keys/apiserver.crt",
    )


def kubeconfig(places: Places) -> str:
    """For every client of the API server."""
    server = {
        "server": f"https://{API_ADDRESS}:{API_PORT}",
        "certificate-authority": str(places.state / "keys" / "apiserver.crt"),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": NODE,
            "clusters": [{"name": NODE, "cluster": server}],
            "users": [{"name": NODE, "user": {"token": TOKEN}}],
            "contexts": [{"name": NODE, "context": {"cluster": NODE, "user": NODE}}],
        }
    )


def scheduler(places: Places, ports: Ports) -> Sequence[str | Path]:
    """The only one, so it need not elect a leader."""
    return (
        places.kubernetes / "kube-scheduler",
        *(f"--kubeconfig={places.state}/kubeconfig", "--leader-elect=false"),
        *(f"--bind-address={LOOPBACK}", f"--secure-port={ports.scheduler}"),
        *(f"--cert-dir={places.state}/keys/scheduler", "--authentication-skip-lookup=true"),
    )


def kubelet_settings(places: Places, ports: Ports, topology_policy: str) -> str:
    """Not more than a node with devices needs; nothing is evicted, no firewall is touched."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": LOOPBACK,
            "port": ports.kubelet,
            "healthzPort": ports.health,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{places.containerd_socket}",
            "syncFrequency": f"{SYNC_PERIOD_S}s",
            "nodeStatusUpdateFrequency": f"{STATUS_PERIOD_S}s",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "hairpinMode": "none",
            "evictionHard": {"memory.available": "1Mi"},
            "imageGCHighThresholdPercent": 100,
            "topologyManagerPolicy": topology_policy,
            "volumePluginDir": str(places.state / "volume-plugins"),
        }
    )


def kubelet(places: Places, address: str) -> Sequence[str | Path]:
    """Its verbosity is what shows the lists that a device plugin sends."""
    return (
        places.kubernetes / "kubelet",
        *(f"--config={places.state}/kubelet.json", f"--root-dir={KUBELET_DIR}"),
        *(f"--cert-dir={places.state}/keys/kubelet", f"--kubeconfig={places.state}/kubeconfig"),
        *(f"--hostname-override={NODE}", f"--node-ip={address}", "--v=4"),
    )
