"""What a container sees of the host: the vendor's status tool, and whose /dev it is."""

from collections.abc import Callable

import pytest

from tests.sim.node import RBLN_STAT, SimNode
from tests.sim.nodes import npus
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOM_POOL, allocatable, config, pool_status

pytestmark = pytest.mark.system

NPU = "0000:20:00.0"


def machine(
    *files: str, folders: tuple[str, ...] = (), links: tuple[tuple[str, str], ...] = ()
) -> Callable[[SimNode], None]:
    """A node with NPUs whose driver package brought these and no others."""

    def build(node: SimNode) -> None:
        node.add(*npus(1))
        node.tree.remove(RBLN_STAT)
        for path in files:
            node.tree.write(path, "#!/bin/sh\n")
        for path in folders:
            node.tree.at(path).mkdir(parents=True)
        for path, target in links:
            node.tree.at(path).parent.mkdir(parents=True, exist_ok=True)
            node.tree.at(path).symlink_to(target)

    return build


@pytest.mark.parametrize(
    ("build", "mounts"),
    [
        (machine("/usr/bin/rbln-smi"), ["/usr/bin/rbln-smi"]),
        (
            machine("/usr/local/bin/rbln-smi", "/usr/bin/rbln-stat"),
            ["/usr/bin/rbln-stat", "/usr/local/bin/rbln-smi"],
        ),
        (machine(folders=(RBLN_STAT, "/usr/bin/rbln-smi")), []),
        (
            machine("/opt/rbln/smi", links=(("/usr/bin/rbln-smi", "/opt/rbln/smi"),)),
            ["/usr/bin/rbln-smi"],
        ),
        (machine(links=(("/usr/bin/rbln-smi", "/opt/nothing"),)), []),
        (machine(), []),
    ],
    ids=["smi", "both", "folders", "a-link", "a-dead-link", "none"],
)
def test_the_tool_that_is_there(build: Callable[[SimNode], None], mounts: list[str] | None) -> None:
    with Stack(config(ATOM_POOL), build) as stack:
        allocatable(stack, ATOM, 1)
        (answer,) = stack.kubelet.allocate(ATOM, [[NPU]]).container_responses
        found = [one.host_path for one in answer.mounts]
        assert found == mounts
        missing = "rbln-stat-missing" in stack.ctl("doctor", "--json").stdout
        assert missing == (not found)


def test_a_pod_without_the_hosts_dev(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated node's /dev is no devtmpfs, as a container's own is none."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with Stack(config(ATOM_POOL), lambda node: node.add(*npus(1))) as stack:
        allocatable(stack, ATOM, 1)
        for name in ("rbln0", "rsd0"):
            stack.node.remove_dev_node(name)
        allocatable(stack, ATOM, 0)
        said = " ".join(stack.ctl("doctor").stdout.split())
        assert "mount the host's /dev there: this container sees only its own" in said
        assert "reload the driver" not in said


@pytest.mark.parametrize("status", [2, 3, 4, 5, 6])
def test_a_driver_of_tomorrow_by_a_table_of_today(status: int) -> None:
    words = ["READY", "BUSY", "PROBING", "INIT", "FAULT", "FINISH"]
    table = {"suspectSeconds": 0, "unknownHoldSeconds": 0, "npuStatus": {"4.0": words}}
    with Stack(config({**ATOM_POOL, "health": table}), lambda node: node.add(*npus(1))) as stack:
        allocatable(stack, ATOM, 1)
        stack.node.set_class_attribute("rbln0", "kernel_version", "4.0.0\n")
        stack.node.set_status("rbln0", status)
        allocatable(stack, ATOM, 0)
        wanted = f"is {words[status]} ({status})" if status < 6 else "npuStatus can tell it"
        pool_status(stack, ATOM, lambda pool: wanted in pool.devices[NPU].reason, what=wanted)
