"""The commands of docs/operate.md for the cluster and the plugin run, on a node with a fault."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Pod
from tests.e2e.cluster.setting import NODE
from tests.system.scene import ATOM, ATOMS
from tests.unit.pages import blocks, prose, spans, text

PAGE: Final = text("operate.md")
CONFIG_FILE: Final = "/etc/pcidp/config.json"
ELSEWHERE: Final = {"rbln-ctl upgrade": "tests/e2e/cluster/test_upgrade_on_host.py"}
PROGRAMS: Final = frozenset({"kubectl rbln", "kubectl-rbln", "rbln-ctl"})
"""Names of programs alone, which are no commands."""
SILENT: Final = re.compile(r"> \w|probe (ready|alive)$")
"""Commands that print nothing if all is well."""
HOLDER: Final = "train"
"""A pod that has all NPUs."""
ENDLESS: Final = "--follow"
FOUND_ERRORS: Final = 1
"""The exit code of doctor, and of whatever shows an error of the node."""
_COMMAND: Final = re.compile(r"(kubectl|rbln-ctl) ")


def page_commands() -> list[str]:
    """The commands of blocks and of spans, each once."""
    lines = [line.split("#")[0].strip() for _, block in blocks(PAGE) for line in block.splitlines()]
    found = [one for one in (*lines, *spans(prose(PAGE))) if _COMMAND.match(one)]
    return [one for one in dict.fromkeys(found) if one not in {*PROGRAMS, *ELSEWHERE}]


COMMANDS: Final = page_commands()


def run_command(
    command: str, kubectl: Kubectl, installed: DaemonSet, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command with its placeholders filled; rbln-ctl runs in the plugin's container."""
    plugin = installed.pod()
    values = {
        "NODE": NODE,
        "POD": plugin if "kube-system" in command else HOLDER,
        "DEVICE": ATOMS[3],
        "POOL": ATOM,
        "FILE": CONFIG_FILE,
        "0000:3b:00.0": ATOMS[3],
    }
    filled = re.sub(
        r"\b(NODE|POD|DEVICE|POOL|FILE|0000:3b:00\.0)(?![\w.])",
        lambda match: values[match[1]],
        command,
    )
    if filled.startswith("rbln-ctl "):
        if filled == "rbln-ctl support-bundle":
            filled += " /run/rbln/more.tar.gz"  # the container's own root is read-only
        limit = "timeout 3 " if ENDLESS in filled else ""
        filled = f"kubectl -n kube-system exec {plugin} -- {limit}{filled}"
    return kubectl.shell(filled, folder)


@pytest.fixture(scope="module")
def faulty(installed: DaemonSet, cluster: Cluster, node: HostNode) -> Iterator[DaemonSet]:
    """The DaemonSet on a node where an NPU that a pod holds has no driver."""
    with Pod(cluster, HOLDER, {ATOM: 4}, scheduled=False) as pod:
        pod.running()
        node.unbind(ATOMS[3])
        installed.ctl("rescan")
        yield installed
        node.bind(ATOMS[3], "rebellions")
        installed.ctl("rescan")


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 20
    assert set(ELSEWHERE) <= set(spans(prose(PAGE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(
    command: str,
    kubectl: Kubectl,
    faulty: DaemonSet,
    tmp_path: Path,
) -> None:
    done = run_command(command, kubectl, faulty, tmp_path)
    said = f"{done.returncode}: {done.stdout}{done.stderr}"
    if ENDLESS in command:
        assert done.returncode == 124, said
    elif "doctor" in command:
        assert done.returncode == FOUND_ERRORS, said
        assert "driver-missing" in done.stdout
    else:
        assert done.returncode == 0, said
        assert done.stdout or SILENT.search(command), said


def test_the_screen_of_doctor_is_real(kubectl: Kubectl, faulty: DaemonSet, tmp_path: Path) -> None:
    done = run_command("kubectl rbln doctor", kubectl, faulty, tmp_path)
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert "\n".join(lines) in PAGE
