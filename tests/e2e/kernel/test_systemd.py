"""deployments/rbln-supervisor.service as it is, under a real systemd on the real /sys and /dev."""

import http.client
import shutil
import signal
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import UnreachableError, send_request
from rbln_supervisor.exporter.main import LISTEN
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.pools import KERNEL
from tests.e2e.kernel.systemd import (
    CONFIG,
    CONFIGURATION,
    DEADLINE_S,
    EXPORTER,
    REPOSITORY,
    UNIT,
    UNITS,
    Systemd,
    installed,
    until,
)
from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_records import Closed
from tests.system.scene import lowest_allocatable

RUN_DIR: Final = Path("/run/rbln")
KUBELET: Final = Path("/var/lib/kubelet")

UPGRADE: Final = """\
[Service]
ExecReload=
ExecReload=/opt/rbln/bin/rbln-ctl --run-dir /run/rbln upgrade
# Under emulation Python takes longer to start than the watchdog of the other tests waits.
WatchdogSec=60
"""
VERSIONS: Final = Path("/opt/rbln/lib/rbln_worker/contract/version.py")


@pytest.fixture(scope="module")
def systemd() -> Iterator[Systemd]:
    installed()
    systemd = Systemd()
    yield systemd
    systemd.close()


def status() -> NodeStatus | None:
    try:
        reply = send_request(RUN_DIR, Status())
    except UnreachableError:
        return None
    assert isinstance(reply, StatusReply)
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


@pytest.mark.timeout(300)
def test_an_upgrade_as_a_reload(systemd: Systemd, note: Note) -> None:
    """docs/install.md, "Upgrade"."""
    CONFIG.write_bytes(CONFIGURATION)
    (UNITS / f"{UNIT}.d/upgrade.conf").write_text(UPGRADE)
    assert systemd.ctl("daemon-reload").returncode == 0
    with SimKubelet(KUBELET) as kubelet:
        assert systemd.ctl("start", UNIT).returncode == 0
        kubelet.wait(
            lambda k: k.resource(KERNEL).allocatable == 2, DEADLINE_S, what="both are allocatable"
        )
        served, process = worker(), systemd.show()["MainPID"]
        VERSIONS.write_text('VERSION = "9.9.9"\n')
        began = monotonic()
        done = systemd.ctl("reload", UNIT)
        took = monotonic() - began
        assert done.returncode == 0, f"{done.stderr}\n{systemd.story()}"
        shown = systemd.show()
        assert (shown["MainPID"], shown["SubState"]) == (process, "running")
        seen = status()
        assert seen is not None
        assert seen.pools[KERNEL].worker.version == "9.9.9"
        assert worker() != served
        assert lowest_allocatable(kubelet, KERNEL) == 2
        note("rbln-ctl upgrade as ExecReload", "another version; always 2 allocatable", took)

        served = worker()
        VERSIONS.write_text("this is no Python")
        assert systemd.ctl("reload", UNIT).returncode != 0
        assert (worker(), systemd.show()["MainPID"]) == (served, process)
        assert systemd.ctl("stop", UNIT).returncode == 0


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
