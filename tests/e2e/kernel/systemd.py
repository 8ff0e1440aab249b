"""A real systemd in the VM, with the units of this repository as docs/install.md installs them.

It is the first process of a PID namespace, with units of ours alone: it knows of no service of the
system's. It runs in the VM and nowhere else, because it owns whatever machine it is on.
"""

import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import pytest

from tests.e2e.kernel import pci
from tests.e2e.kernel.pools import KERNEL_DRIVER
from tests.system.scene import config, pool

REPOSITORY: Final = Path(__file__).parents[3]
UNITS: Final = Path("/run/units")
CONFIG: Final = Path("/etc/pcidp/config.json")
CONFIGURATION: Final = msgspec.json.encode(
    config(
        pool(
            "KERNEL",
            vendors=[pci.VIRTIO_VENDOR],
            devices=[pci.VIRTIO_DISK],
            drivers=[KERNEL_DRIVER],
        )
    )
)
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
    CONFIG.write_bytes(CONFIGURATION)
