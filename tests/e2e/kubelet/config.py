"""What the parts of the cluster are told: their configuration files and command lines."""

import json
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.kubelet.images import IMAGE
from tests.e2e.kubelet.setting import KUBELET_DIR, NODE, Places

TOKEN: Final = "e2e"  # noqa: S105 - of an API server that only listens on loopback
LOOPBACK: Final = "127.0.0.1"
STATUS_PERIOD_S: Final = 0.2
"""How often the kubelet compares its node status and reports a change. By default it is 10 s: a
real cluster sees changes later than this one, and dips that are shorter not at all."""


class Ports(NamedTuple):
    """Of one cluster."""

    api: int
    etcd: int
    etcd_peer: int
    scheduler: int
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
    """Everything in our own folders; pods use the host's network, the CRI plugin asks for one."""
    state = places.state / "containerd"
    network = places.state / "network"
    network.mkdir(parents=True, exist_ok=True)
    (network / "10-e2e.conflist").write_text(
        json.dumps({"cniVersion": "0.3.1", "name": "e2e", "plugins": [{"type": "loopback"}]})
    )
    return f"""\
version = 2
root = "{state}/root"
state = "{state}/state"
[grpc]
  address = "{places.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  disable_apparmor = true
  # Where this process may not lower its own score, neither may its containers.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{network}"
"""


def etcd(places: Places, ports: Ports) -> Sequence[str | Path]:
    """One member. It need not survive a crash: nothing waits for the disk."""
    client, peer = (f"http://{LOOPBACK}:{port}" for port in (ports.etcd, ports.etcd_peer))
    return (
        *("etcd", "--name", NODE, "--data-dir", places.state / "etcd", "--unsafe-no-fsync"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"{NODE}={peer}"),
    )


def api_server(places: Places, ports: Ports) -> Sequence[str | Path]:
    """Everybody with the token may do everything; no service accounts, no controllers."""
    keys = places.state / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    (keys / "tokens.csv").write_text(f"{TOKEN},admin,1,system:masters\n")
    off = "ServiceAccount,NodeRestriction,TaintNodesByCondition"
    return (
        places.binaries / "kube-apiserver",
        f"--etcd-servers=http://{LOOPBACK}:{ports.etcd}",
        *(f"--bind-address={LOOPBACK}", f"--secure-port={ports.api}", f"--cert-dir={keys}"),
        *(f"--token-auth-file={keys}/tokens.csv", "--authorization-mode=AlwaysAllow"),
        f"--service-account-issuer=https://{NODE}",
        *(f"--service-account-{use}-file={keys}/apiserver.key" for use in ("signing-key", "key")),
        f"--disable-admission-plugins={off}",
        *("--service-cluster-ip-range=10.245.0.0/24", "--endpoint-reconciler-type=none"),
    )


def kubeconfig(places: Places, ports: Ports) -> str:
    """For the kubelet and the scheduler."""
    server = {
        "server": f"https://{LOOPBACK}:{ports.api}",
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
        places.binaries / "kube-scheduler",
        *(f"--kubeconfig={places.state}/kubeconfig", "--leader-elect=false", "--port=0"),
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
            "syncFrequency": "5s",
            "nodeStatusUpdateFrequency": f"{STATUS_PERIOD_S}s",
            "cgroupDriver": "cgroupfs",
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
    """Its verbosity (2) is what tells of every state that a device plugin pushes."""
    return (
        places.binaries / "kubelet",
        *(f"--config={places.state}/kubelet.json", f"--root-dir={KUBELET_DIR}"),
        *(f"--cert-dir={places.state}/keys/kubelet", f"--kubeconfig={places.state}/kubeconfig"),
        "--container-runtime=remote",
        f"--container-runtime-endpoint=unix://{places.containerd_socket}",
        *(f"--hostname-override={NODE}", f"--node-ip={address}", "--v=4"),
    )
