"""deployments/rbln-supervisor.service as it is, under a real systemd on the real /sys and /dev.

systemd is the first process of a PID namespace, with units of ours alone: it knows of no service of
the system's. It runs in the VM and nowhere else, because it owns whatever machine it is on.
"""

import http.client
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import pytest

from rbln_supervisor.core.commands import Node, Status
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import UnreachableError, ask
from rbln_supervisor.exporter.main import LISTEN
from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.pools import KERNEL, KERNEL_DRIVER
from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_records import Closed
from tests.system.scene import config, pool

REPOSITORY: Final = Path(__file__).parents[3]
UNITS: Final = Path("/run/units")
RUN_DIR: Final = Path("/run/rbln")
CONFIG: Final = Path("/etc/pcidp/config.json")
KUBELET: Final = Path("/var/lib/kubelet")
LOG: Final = Path("/run/rbln-supervisor.log")
UNIT: Final = "rbln-supervisor.service"
EXPORTER: Final = "rbln-exporter.service"
HOMES: Final = ("/home", "/root", "/run/user")
"""What ProtectHome=yes hides, systemd.exec(5)."""
DEADLINE_S: Final = 60.0

DROP_IN: Final = f"""\
[Service]
# There is no journal, and nobody has half a minute for a watchdog.
StandardOutput=append:{LOG}
StandardError=append:{LOG}
WatchdogSec=6
"""


class Systemd:
    """A systemd, and what is asked of it."""

    def __init__(self) -> None:
        assert Path("/run/vm/share").is_mount(), "only in the VM: systemd owns its machine"
        if not Path("/lib/systemd/systemd").exists() or shutil.which("systemctl") is None:
            pytest.skip("there is no systemd on this machine")
        for name in ("sysinit", "basic", "shutdown", "multi-user"):
            (UNITS / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        with Path("/run/systemd.log").open("ab") as log:
            self._unshare = subprocess.Popen(
                [
                    *("unshare", "--pid", "--fork", "--mount", "--mount-proc", "--cgroup", "--ipc"),
                    *("env", "container=vm", f"SYSTEMD_UNIT_PATH={UNITS}"),
                    *("/lib/systemd/systemd", "--system", "--unit=basic.target"),
                    *("--log-target=console", "--show-status=no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        until(lambda: children.read_text().split(), "systemd is forked")
        self.pid = int(children.read_text().split()[0])
        until(Path("/run/systemd/private").is_socket, "systemd answers")

    def close(self) -> None:
        # The end of a namespace's first process is everybody's in it.
        subprocess.run(["kill", "-KILL", str(self.pid)], check=True)
        self._unshare.wait()

    def inside(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run something among its processes: their numbers are others outside."""
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "--pid", "--mount", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.inside("systemctl", "--no-pager", *words)

    def show(self) -> Mapping[str, str]:
        """What it knows of the unit."""
        lines = self.ctl("show", UNIT).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def kill(self, pid: str, number: signal.Signals) -> None:
        done = self.inside("kill", f"-{number.value}", pid)
        assert done.returncode == 0, done.stderr

    def story(self) -> str:
        logs = (LOG, Path("/run/systemd.log"))
        words = [log.read_text(errors="replace")[-4000:] for log in logs if log.exists()]
        return "\n".join((self.ctl("status", UNIT).stdout, *words))


def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = monotonic() + deadline_s
    while not condition():
        assert monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.05)


def python() -> tuple[Path, str]:
    """A Python that our packages are made for, and the settings with which the units see it.

    It is the one that runs us or Debian's of the same version. Where neither will do, because
    ProtectHome=yes hides the only one, the units are not quite as they are shipped.
    """
    running = Path(sys.executable).resolve()
    if not any(running.is_relative_to(home) for home in HOMES):
        return running, ""
    debians = Path(f"/usr/bin/python3.{sys.version_info.minor}")
    if debians.exists():
        return debians, ""
    return running, f"ProtectHome=tmpfs\nBindReadOnlyPaths={Path(sys.base_prefix).resolve()}\n"


def installed() -> None:
    """What docs/install.md says to do on bare metal, but for pip: the machine has no network."""
    library, others = Path("/opt/rbln/lib"), Path("/opt/rbln/others")
    others.mkdir(parents=True, exist_ok=True)
    subprocess.run(("mount", "--bind", sysconfig.get_path("platlib"), others), check=True)
    interpreter, settings = python()
    for package in ("rbln_supervisor", "rbln_worker"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, library / package, ignore=ignore)
    modules = {"supervisor": "", "ctl": ".ctl", "exporter": ".exporter"}
    for name, module in modules.items():
        script = Path("/opt/rbln/bin", f"rbln-{name}")
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(
            f"#!{interpreter}\nimport sys\nsys.path[:0] = [{str(library)!r}, {str(others)!r}]\n"
            f"from rbln_supervisor{module}.main import main\nsys.exit(main())\n"
        )
        script.chmod(0o755)
    for line in (REPOSITORY / "deployments/rbln.tmpfiles.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            _, path, mode, *_ = line.split()
            Path(path).mkdir(parents=True, exist_ok=True)
            Path(path).chmod(int(mode, 8))
    for unit, changes in {UNIT: DROP_IN, EXPORTER: "[Service]\n"}.items():
        (UNITS / f"{unit}.d").mkdir(parents=True)
        shutil.copy(REPOSITORY / "deployments" / unit, UNITS)
        (UNITS / f"{unit}.d/test.conf").write_text(changes + settings)
    CONFIG.parent.mkdir(parents=True, exist_ok=True)
    served = pool("KERNEL", vendors=[pci.VIRTIO_VENDOR], drivers=[KERNEL_DRIVER])
    CONFIG.write_bytes(msgspec.json.encode(config(served)))


@pytest.fixture(scope="module")
def systemd() -> Iterator[Systemd]:
    installed()
    systemd = Systemd()
    yield systemd
    systemd.close()


def status() -> NodeStatus | None:
    try:
        reply = ask(RUN_DIR, Status())
    except UnreachableError:
        return None
    assert isinstance(reply, Node)
    return reply.status


def page(path: str) -> int:
    """The code of the exporter's answer; 0 where nobody answers."""
    asking = http.client.HTTPConnection(LISTEN, timeout=5)
    try:
        asking.request("GET", path)
        return asking.getresponse().status
    except OSError:
        return 0
    finally:
        asking.close()


def ready() -> bool:
    seen = status()
    return seen is not None and seen.supervisor.ready


def has_no_rights(systemd: Systemd, pid: str) -> bool:
    """No capability, no new ones, and a filter of system calls (proc(5))."""
    seen = Path(f"/proc/{systemd.pid}/root/proc", pid, "status").read_text()
    rights = dict(line.split(":\t", 1) for line in seen.splitlines() if ":\t" in line)
    found = tuple(rights[name] for name in ("CapEff", "NoNewPrivs", "Seccomp"))
    return found == ("0" * 16, "1", "2")


def worker() -> int | None:
    seen = status()
    return seen.pools[KERNEL].worker.pid if seen else None


@pytest.mark.timeout(600)  # three starts of everything, each 5 to 60 s under emulation
def test_a_life_under_systemd(systemd: Systemd, note: Note) -> None:
    with SimKubelet(KUBELET) as kubelet:
        began = monotonic()
        done = systemd.ctl("start", UNIT)
        assert done.returncode == 0, f"{done.stderr}\n{systemd.story()}"
        took = monotonic() - began
        # Under emulation a start may take longer than the 10 s after which READY comes anyway.
        kubelet.wait(
            lambda k: k.resource(KERNEL).allocatable == 2, DEADLINE_S, what="both are allocatable"
        )
        served_all = "1 of 1 pools serve 2 of 2 devices"
        until(lambda: systemd.show()["StatusText"] == served_all, "the status line says so")
        shown = systemd.show()
        assert (shown["ActiveState"], shown["SubState"]) == ("active", "running")
        note("systemctl start", "READY: both devices are allocatable", took)

        assert has_no_rights(systemd, shown["MainPID"])
        assert systemd.ctl("start", EXPORTER).returncode == 0
        until(lambda: page("/readyz") == HTTPStatus.OK, "the exporter says that all is ready")
        assert systemd.ctl("stop", EXPORTER).returncode == 0

        served, process = worker(), shown["MainPID"]
        before = len(kubelet.records)
        began = monotonic()
        systemd.kill(process, signal.SIGKILL)
        until(lambda: systemd.show()["MainPID"] not in {"0", process} and ready(), "the next one")
        assert worker() == served
        assert systemd.show()["NRestarts"] == "1"
        note("SIGKILL", "the next supervisor has the same worker", monotonic() - began)

        process = systemd.show()["MainPID"]
        began = monotonic()
        systemd.kill(process, signal.SIGSTOP)  # as if its loop hung
        until(lambda: systemd.show()["MainPID"] not in {"0", process} and ready(), "the next one")
        assert worker() == served
        assert systemd.show()["NRestarts"] == "2"
        note("it hangs (WatchdogSec=6)", "the same: ended, the worker lives", monotonic() - began)
        assert not [one for one in kubelet.records[before:] if isinstance(one, Closed)]
        assert len(kubelet.records) == before, "the kubelet heard nothing of either"

        done = systemd.ctl("reload", UNIT)
        assert done.returncode == 0, f"{done.stderr}\n{systemd.story()}"
        CONFIG.write_text("{")
        assert systemd.ctl("reload", UNIT).returncode != 0
        assert worker() == served
        until(lambda: systemd.show()["SubState"] == "running", "it goes on as it was")

        began = monotonic()
        done = systemd.ctl("stop", UNIT)
        took = monotonic() - began
        assert done.returncode == 0, done.stderr
        shown = systemd.show()
        assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success")
        assert "rbln" not in systemd.inside("ps", "-eo", "args").stdout
        assert not list((KUBELET / "device-plugins").glob("rebellions.ai*"))
        assert not RUN_DIR.exists()
        note("systemctl stop", "no process of it, no socket", took)


def test_the_status_of_a_unit_whose_python_lies_in_somebodys_home(systemd: Systemd) -> None:
    """docs/install.md says what it means."""
    interpreter, program = Path("/root/python"), Path("/opt/rbln/bin/rbln-at-home")
    interpreter.symlink_to(shutil.which("true") or "/bin/true")
    program.write_text(f"#!{interpreter}\n")
    program.chmod(0o755)
    assert systemd.inside(str(program)).returncode == 0, "in a shell it works"
    unit = (REPOSITORY / "deployments" / UNIT).read_text()
    text = unit.replace("/opt/rbln/bin/rbln-supervisor", str(program))
    (UNITS / "at-home.service").write_text(text)
    assert systemd.ctl("daemon-reload").returncode == 0
    systemd.ctl("start", "--no-block", "at-home.service")
    until(
        lambda: "(code=exited, status=203/EXEC)" in systemd.ctl("status", "at-home.service").stdout,
        "its status names the step that failed",
    )
    assert systemd.ctl("stop", "at-home.service").returncode == 0
