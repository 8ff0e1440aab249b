"""rbln-ctl doctor against each fault, arranged on a real system: the finding's code is expected."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest

from rbln_supervisor.options import FILE as OPTIONS
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import demo, npus
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    config,
    eventually,
    pool,
    pool_status,
    served,
)

pytestmark = pytest.mark.system


def doctor(stack: Stack, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and a finding of each code."""
    done = stack.ctl("doctor", "--json", *arguments, deadline_s=60)
    assert "Traceback" not in done.stderr
    return done.returncode, {one["code"]: one for one in json.loads(done.stdout)["findings"]}


def seen(stack: Stack, code: str) -> dict[str, Any]:
    """The finding, as soon as doctor has it: some faults take a moment to be noticed."""
    found: dict[str, dict[str, Any]] = {}

    def look() -> bool:
        found.update(doctor(stack)[1])
        return code in found

    eventually(look, what=code, deadline_s=30)
    return found[code]


class Fault(NamedTuple):
    """What is wrong, and what doctor says of it."""

    code: str
    arrange: Callable[[Stack], object]
    subject: str = ""
    word: str = ""
    """Of the cause, the evidence or the next step."""
    severity: str = "error"


def _deaf_kubelet(stack: Stack) -> None:
    stack.kubelet.stop()


def _bad_reload(stack: Stack) -> None:
    stack.write_config({"resourceList": 3})
    assert stack.ctl("reload").returncode == 1


def _unbind(stack: Stack) -> None:
    stack.node.unbind(ATOMS[1])
    stack.ctl("rescan")


def _bind_other(stack: Stack) -> None:
    stack.node.bind(ATOMS[1], "uio_pci_generic")
    stack.ctl("rescan")


def _no_iommu(stack: Stack) -> None:
    for group in (stack.root / "sys/kernel/iommu_groups").iterdir():
        stack.node.tree.remove(f"/sys/kernel/iommu_groups/{group.name}")


def _kill_worker(stack: Stack) -> None:
    os.kill(stack.workers()[ATOM], signal.SIGKILL)
    pool_status(stack, ATOM, lambda now: now.worker.restarts, what="it was started again")


def _no_kubelet_socket(stack: Stack) -> None:
    stack.kubelet.stop()
    stack.kubelet.socket.unlink(missing_ok=True)


FAULTS = [
    Fault("kubelet-silent", _deaf_kubelet, word="systemctl status kubelet"),
    Fault("pool-unregistered", _deaf_kubelet, word="journalctl -u kubelet"),
    Fault("kubelet-sock-missing", _no_kubelet_socket),
    Fault(
        "pod-resources-missing",
        lambda stack: (stack.kubelet.folder / "pod-resources/kubelet.sock").unlink(),
        severity="note",
    ),
    Fault("pod-resources-silent", lambda stack: stack.kubelet.pods.stop(), severity="warning"),
    Fault("reload-refused", _bad_reload, word="expected array, got number"),
    Fault("config-unusable", _bad_reload, word="resourceList"),
    Fault("driver-missing", _unbind, word="modprobe rebellions"),
    Fault("driver-unwanted", _bind_other, word="uio_pci_generic", severity="warning"),
    Fault("node-missing", lambda s: s.node.remove_dev_node("rbln2"), ATOM, "/dev/rbln2"),
    Fault("rsd-missing", lambda s: s.node.remove_dev_node("rsd0"), "/dev/rsd0"),
    Fault(
        "rbln-stat-missing",
        lambda s: s.node.tree.remove("/usr/local/bin/rbln-stat"),
        severity="warning",
    ),
    Fault("iommu-off", _no_iommu, VM, "intel_iommu=on"),
    Fault("device-unhealthy", lambda s: s.node.set_status("rbln1", 3), ATOM, "FAULT"),
    Fault("worker-restarted", _kill_worker, ATOM, "SIGKILL", "warning"),
    Fault(
        "pool-empty",
        lambda s: s.write_config(config(ATOM_POOL, VM_POOL, pool("NO", vendors=["1234"]))),
        "rebellions.ai/NO",
        "selectors[0].vendors turned 6 away: wanted is 1234, the first has 1eff",
    ),
    Fault(
        "selectors-overlap",
        lambda s: s.write_config(
            config(ATOM_POOL, pool("REST", vendors=["1eff"], drivers=["rebellions", "vfio-pci"]))
        ),
        "rebellions.ai/REST",
        f"4 are had by {ATOM}",
        "warning",
    ),
    Fault(
        "config-not-in-force",
        lambda s: s.write_config(config(ATOM_POOL)),
        word=f"{VM} is served only",
        severity="warning",
    ),
    Fault(
        "pool-invalid",
        lambda s: s.write_config(config(ATOM_POOL, pool("BAD", vendors="1eff"))),
        "rebellions.ai/BAD",
        "expected array, got string",
    ),
    Fault(
        "config-odd",
        lambda s: s.write_config('{"resourceList": [{"resourceName": "A", "selectors": {},}]}'),
        word="trailing comma",
        severity="note",
    ),
    Fault(
        "look-failed",
        lambda s: s.node.tree.remove("/sys/bus/pci/devices"),
        "/sys/bus/pci/devices",
    ),
    Fault(
        "kubelet-dir-missing",
        lambda s: (s.root / "var/lib/kubelet").rename(s.root / "var/lib/other"),
        word="--kubelet-dir",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_a_fault_is_found(fault: Fault) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        code, findings = doctor(stack)
        assert (code, findings) == (0, {})
        fault.arrange(stack)
        found = seen(stack, fault.code)
        assert found["severity"] == fault.severity
        if fault.subject:
            assert found["subject"] == fault.subject
        said = " ".join([found["cause"], *found["evidence"], found["next"]])
        assert fault.word in said
        assert found["next"]
        code, findings = doctor(stack)
        assert code == (1 if any(f["severity"] == "error" for f in findings.values()) else 0)
        page = stack.ctl("doctor")
        assert page.returncode == code
        assert fault.code in page.stdout
        if fault.code == "kubelet-dir-missing":
            (stack.root / "var/lib/other").rename(stack.root / "var/lib/kubelet")


def test_without_a_supervisor_files_tell() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kill()
        stack.node.remove_dev_node("rbln2")
        code, findings = doctor(stack)
        assert code == 3
        assert set(findings) == {"supervisor-down", "node-missing"}
        assert any("workers serve on" in line for line in findings["supervisor-down"]["evidence"])
        (stack.run_dir / OPTIONS).write_bytes(b'{"config_file": 3')
        code, findings = doctor(
            stack,
            *("--config-file", str(stack.config_file)),
            *("--host-root", str(stack.root)),
        )
        assert code == 3
        assert {"supervisor-down", "node-missing"} <= set(findings)
        stack.start()
        stack.wait_status(lambda now: now.supervisor.ready, what="it goes on")


def test_a_supervisor_that_hangs() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        os.kill(stack.pid, signal.SIGSTOP)
        try:
            code, findings = doctor(stack)
        finally:
            os.kill(stack.pid, signal.SIGCONT)
        assert code == 3
        assert findings["supervisor-hangs"]["subject"] == f"pid {stack.pid}"


def test_a_file_that_hangs_does_not_hang_doctor() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.hang(ATOMS[1], "modalias")
        began = monotonic()
        code, findings = doctor(stack)
        assert monotonic() - began < 40
        assert code == 1
        assert findings["no-answer"]["subject"] == "hardware"
        assert "dmesg" in findings["no-answer"]["next"]
        stack.node.set_attribute(ATOMS[1], "modalias", None)


def test_cdi_that_is_none() -> None:
    with Stack(TWO_POOLS, arguments=("--use-cdi",)) as stack:
        served(stack)
        assert doctor(stack)[0] == 0
        (spec,) = (stack.root / "var/run/cdi").glob("*ATOM*")
        spec.write_text(f"{spec.read_text().splitlines()[0]}\nno: json")
        found = seen(stack, "spec-invalid")
        assert found["subject"] == str(spec)
        assert "it is no JSON" in found["evidence"][0]


def test_device_info_that_is_none() -> None:
    nic = SimDevice(
        "0000:5e:00.0", vendor="15b3", device="1017", code="020000", driver="mlx5_core", net=("p0",)
    )
    nics = pool("nics", deviceType="netDevice", vendors=["15b3"])
    with Stack(config(nics), lambda node: node.add(nic)) as stack:
        served(stack, "rebellions.ai/nics")
        assert doctor(stack)[0] == 0
        (info,) = (stack.root / "var/run/k8s.cni.cncf.io/devinfo/dp").iterdir()
        info.chmod(0o644)
        info.write_text("[")
        assert seen(stack, "spec-invalid")["subject"] == str(info)


def test_a_worker_that_dies_again_and_again() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)

        def killed() -> bool:
            pid = stack.status().pools[ATOM].worker.pid
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return "worker-restarting" in doctor(stack)[1]

        eventually(killed, what="in back-off", deadline_s=60)
        stack.wait_status(lambda now: now.supervisor.ready, 60, what="it is back")


def test_few_descriptors() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        used = len(list(Path(f"/proc/{stack.pid}/fd").iterdir()))
        former, most = resource.prlimit(stack.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(stack.pid, resource.RLIMIT_NOFILE, (used + 6, most))
        assert seen(stack, "descriptors-short")["subject"] == f"pid {stack.pid}"
        resource.prlimit(stack.pid, resource.RLIMIT_NOFILE, (former, most))


@pytest.fixture
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run directory of which nothing is what it should be."""
    folder = tmp_path_factory.mktemp("r")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "control.sock"))
        listening.listen(1)
        (folder / "options.json").write_bytes(b"\xff" * 100_000)
        (folder / "supervisor.lock").write_bytes(b"-1 \0")
        (folder / "pools").mkdir()
        (folder / "pools" / "\udcff_x.lock").write_bytes(b"99999999999999 x")
        os.mkfifo(folder / "pools" / "a_b.log")
        (folder / "events.jsonl").write_bytes(b'{"number": "x"}\n\xff\xfe\n[[[[')
        yield folder


@pytest.mark.parametrize("verb", ["doctor", "status", "events", "support-bundle"])
@pytest.mark.parametrize("place", ["strange", "/nowhere", "/dev/null", "/proc/self"])
def test_no_traceback_whatever_the_run_directory_is(
    strange: Path, tmp_path: Path, verb: str, place: str
) -> None:
    folder = strange if place == "strange" else place
    more = [str(tmp_path / "x.tar.gz")] if verb == "support-bundle" else []
    done = subprocess.run(
        [*(sys.executable, "-m", "rbln_supervisor.ctl", verb, "--run-dir", str(folder)), *more],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if more:
        assert (tmp_path / "x.tar.gz").stat().st_mode & 0o777 == 0o600


def test_many_npus_are_one_finding() -> None:
    def build(node: SimNode) -> None:
        demo(node)
        node.add(*(one for one in npus(40) if one.bdf not in (*ATOMS,) and one.bdf < "0000:60"))

    with Stack(TWO_POOLS, build) as stack:
        served(stack)
        for name in stack.node.devices:
            if name not in ATOMS and name < "0000:60":
                stack.node.unbind(name)
        found = seen(stack, "driver-missing")
        assert len(found["evidence"]) == 9
        assert found["evidence"][-1].startswith("… and ")
