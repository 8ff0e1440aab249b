"""What workers and looks at the node may do, as the kernel says it of real ones."""

import os
import platform
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim import seccomp
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import demo
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    allocatable,
    config,
    eventually,
    pool_status,
    run_supervisor,
    served,
    supervisor,
)

pytestmark = pytest.mark.system

CHOWN, DAC_OVERRIDE, SETPCAP, NET_ADMIN, SYS_ADMIN = (1 << n for n in (0, 1, 8, 12, 21))
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
VF = "0000:3b:02.0"
NIC = "intel.com/nic"


def said(pid: int) -> dict[str, str]:
    """/proc/<pid>/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def capabilities(pid: int) -> dict[str, int]:
    status = said(pid)
    return {name: int(status[name], 16) for name in SETS}


def may_narrow() -> bool:
    """Whether we may take capabilities out of our bounding set, and so may what we start."""
    return bool(capabilities(os.getpid())["CapEff"] & SETPCAP)


def build(node: SimNode) -> None:
    demo(node)
    node.add(
        SimDevice("0000:3b:00.0", "8086", "1592", "020000", "ice", totalvfs=8, net=("ens1f0",)),
        SimDevice(VF, "8086", "1889", "020000", "vfio-pci", pf="0000:3b:00.0", iommu=20),
    )


PRIVILEGED = pytest.mark.skipif(
    not capabilities(os.getpid())["CapEff"] & CHOWN, reason="root without capabilities, or nobody"
)
"""There is something to give up, and a folder can be given away."""


@pytest.fixture
def stack() -> Iterator[Stack]:
    nic: dict[str, object] = {"resourceName": "nic", "selectors": {"pciAddresses": [VF]}}
    both = config(ATOM_POOL, nic)
    with Stack(both, build, arguments=("--use-cdi",)) as stack:
        served(stack, ATOM, NIC)
        yield stack


def test_workers_have_no_privileges_and_can_gain_none(stack: Stack) -> None:
    for pid in stack.workers().values():
        held = capabilities(pid)
        bounding = held.pop("CapBnd")
        assert held == dict.fromkeys(held, 0)
        assert bounding == (0 if may_narrow() else capabilities(os.getpid())["CapBnd"])
        status = said(pid)
        assert status["NoNewPrivs"] == "1"
        assert status["Umask"] == "0077"


def test_the_supervisor_keeps_what_others_need_of_it(stack: Stack) -> None:
    kept = DAC_OVERRIDE | SETPCAP | NET_ADMIN | SYS_ADMIN
    own = capabilities(os.getpid())
    held = capabilities(stack.pid)
    assert held["CapEff"] == own["CapEff"] & kept
    assert held["CapPrm"] == own["CapPrm"] & kept
    assert (held["CapInh"], held["CapAmb"]) == (0, 0)
    assert said(stack.pid)["NoNewPrivs"] == "1"


def test_a_look_at_the_node_may_ask_devlink_and_no_more(stack: Stack) -> None:
    before = {*stack.processes()}
    stack.node.hang(VF, "modalias")
    asking = subprocess.Popen(
        [sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", stack.run_dir, "rescan"],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        found: list[int] = []

        def look() -> bool:
            found[:] = {*stack.processes()} - before - {asking.pid}
            return len(found) == 1 and said(found[0])["NoNewPrivs"] == "1"

        eventually(look, what="a look that hangs")
        eventually(
            lambda: (
                capabilities(found[0])["CapPrm"] == capabilities(os.getpid())["CapPrm"] & NET_ADMIN
            ),
            what="it has given up the rest",
        )
        assert points(found[0]) == min(1000, points(stack.pid) + 100)
    finally:
        stack.node.tree.answer(f"{stack.node.home(VF)}/modalias", "none\n")
        asking.wait()


def points(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_a_worker_goes_before_its_supervisor_and_leaves_no_image(stack: Stack) -> None:
    first = stack.workers()[ATOM]
    os.kill(first, signal.SIGKILL)  # points do not add up from life to life
    pool_status(stack, ATOM, lambda seen: seen.worker.pid not in {None, first}, what="another")
    for pid in stack.workers().values():
        assert points(pid) == min(1000, points(stack.pid) + 100)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    for pid in (stack.pid, *stack.workers().values()):
        assert resource.prlimit(pid, resource.RLIMIT_CORE)[0] <= 1
        assert hard == 0 or resource.prlimit(pid, resource.RLIMIT_CORE) == (1, 1)


def test_what_others_read_they_can_read_and_nothing_else(stack: Stack) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    for folder in ("k8s.cni.cncf.io/devinfo/dp", "k8s.cni.cncf.io/devinfo", "k8s.cni.cncf.io"):
        assert mode(stack.root / "var/run" / folder) == 0o755
    assert mode(stack.root / "var/run/cdi") == 0o755
    info = stack.root / f"var/run/k8s.cni.cncf.io/devinfo/dp/intel.com-nic-{VF}-device.json"
    assert mode(info) == 0o444
    specs = list((stack.root / "var/run/cdi").iterdir())
    assert len(specs) == 2
    assert {mode(path) for path in specs} == {0o644}
    assert mode(stack.run_dir) == mode(stack.run_dir / "pools") == 0o700
    own = [
        *(path for path in stack.run_dir.iterdir() if not path.is_dir()),
        *(stack.run_dir / "pools").iterdir(),
        *stack.kubelet.plugins.glob("*.io_*.sock"),
        *stack.kubelet.plugins.glob("*.ai_*.sock"),
    ]
    assert {path.name for path in own} >= {"control.sock", "workers.sock"}
    assert not [path for path in own if mode(path) & 0o077]


@pytest.mark.skipif(platform.machine() not in seccomp.NUMBERS, reason="other system call numbers")
@PRIVILEGED
def test_a_kernel_that_takes_no_privilege_away_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"resourceList": [{"resourceName": "a", "selectors": {"drivers": ["x"]}}]}')
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.sim.seccomp", "capset"),
            *supervisor("--config-file", path, "--run-dir", tmp_path / "r"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "rbln-supervisor: cannot drop its privileges (capset: Operation not permitted): "
        "it has to be allowed to\n"
    )
    assert not (tmp_path / "r").exists()


ALONE = """
import sys
from pathlib import Path
from rbln_worker.spec import KubeletDirs, WorkerSpec
from rbln_worker.contract.pool import PoolName
from rbln_worker.main import run_worker
from tests.sim.seccomp import refuse
home = Path(sys.argv[1])
refuse("capset")
sys.exit(run_worker(WorkerSpec(
    pool=PoolName("x.io/a"), incarnation="1", run_dir=home, root=home,
    kubelet_dirs=KubeletDirs(
        home / "k/device-plugins", home / "k/reg", home / "k/pods", home / "k/pods-api"
    ),
    registration="auto", host_visible=False,
)))
"""


@pytest.mark.skipif(platform.machine() not in seccomp.NUMBERS, reason="other system call numbers")
@PRIVILEGED
def test_a_worker_that_keeps_its_privileges_does_nothing_with_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 77
    assert done.stderr == ("x.io/a: cannot drop its privileges: capset: Operation not permitted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(platform.machine() not in seccomp.NUMBERS, reason="other system call numbers")
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has nothing to take away")
def test_who_has_nothing_to_give_up_need_not_be_allowed_to() -> None:
    """As below a systemd unit with no capability and a filter of system calls."""
    given_up = (
        "from tests.sim.seccomp import refuse; "
        "from rbln_worker.process.privileges import keep_only; "
        "refuse('capset'); keep_only()"
    )
    subprocess.run(
        [
            *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
            *(sys.executable, "-c", given_up),
        ],
        cwd=REPOSITORY,
        check=True,
        timeout=30,
    )


# The run directory


def refused(tmp_path: Path, run_dir: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text('{"resourceList": [{"resourceName": "a", "selectors": {"drivers": ["x"]}}]}')
    done = run_supervisor("--config-file", path, "--run-dir", run_dir, "--host-root", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777, 0o2777, 0o3777, 0o1700, 0o500])
def test_a_volume_of_our_own_is_closed_to_others(mode: int) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.stop()
        for path in (stack.run_dir, stack.run_dir / "pools"):
            path.chmod(mode | 0o300)
        (stack.run_dir / "supervisord.pid").write_text("1\n")
        stack.start()
        served(stack)
        for path in (stack.run_dir, stack.run_dir / "pools"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_folder_that_others_use_is_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "theirs").touch()
    assert "others may write to it (mode 1777)" in refused(tmp_path, shared)
    shared.chmod(0o775)
    said_ = refused(tmp_path, shared)
    assert said_ == (
        f"rbln-supervisor: {shared}: others may write to it (mode 0775) and it is not ours alone "
        "(theirs): give --run-dir a folder of its own"
    )
    assert stat.S_IMODE(shared.stat().st_mode) == 0o775
    assert [path.name for path in shared.iterdir()] == ["theirs"]


def test_a_folder_of_ours_that_others_may_read_is_closed_and_served_from() -> None:
    with Stack(config(ATOM_POOL)) as stack:
        served(stack, ATOM)
        stack.stop()
        stack.run_dir.chmod(0o755)
        (stack.run_dir / "notes").touch()
        stack.start()
        allocatable(stack, ATOM, len(ATOMS))
        assert stat.S_IMODE(stack.run_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE((stack.run_dir / "control.sock").stat().st_mode) & 0o077 == 0


@PRIVILEGED
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "r"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    assert "belongs to user 65534, expected 0, as whom this runs" in refused(tmp_path, theirs)


def test_links_are_not_followed(tmp_path: Path) -> None:
    run_dir, precious = tmp_path / "r", tmp_path / "precious"
    run_dir.mkdir()
    precious.write_text("much")
    (run_dir / "supervisor.lock").symlink_to(precious)
    assert "supervisor.lock" in refused(tmp_path, run_dir)
    assert precious.read_text() == "much"
    (run_dir / "supervisor.lock").unlink()
    (run_dir / "pools").rmdir()
    (run_dir / "pools").symlink_to(tmp_path)
    assert f"{run_dir}/pools: a link, expected a folder" in refused(tmp_path, run_dir)
