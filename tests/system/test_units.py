"""The systemd units: systemd's own opinion of them, and that they say what the code says.

No systemd is started here: the tool reads files. tests/e2e/kernel has one that runs, in a machine
of its own.
"""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from rbln_supervisor.cli import parse_arguments
from rbln_supervisor.core.reporting.systemd import READY_TIMEOUT_S
from rbln_worker.contract.exits import Exit
from rbln_worker.core.allocation import cdi, devinfo
from tests.sim.stack import REPOSITORY

DEPLOYMENTS: Final = REPOSITORY / "deployments"
UNITS: Final = ("rbln-supervisor.service", "rbln-exporter.service", "rbln-agent.service")
EXPOSURE_MOST: Final = dict(zip(UNITS, (1.9, 1.9, 2.1), strict=True))
"""From 0 to 10. What is left is that it is root, and what the unit's comments say of /dev, /proc,
netlink and the host's network."""
PROGRAMS: Final = "/opt/rbln/bin"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here: install systemd"
)


def settings(name: str) -> dict[str, list[str]]:
    """A unit's settings; one that is given twice has two values."""
    found = defaultdict(list)
    for line in (DEPLOYMENTS / name).read_text().splitlines():
        if not line.startswith(("#", "[")) and "=" in line:
            key, _, value = line.partition("=")
            found[key].append(value)
    return dict(found)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with the units, whose programs are there."""
    for name in UNITS:
        text = (DEPLOYMENTS / name).read_text()
        for program in re.findall(rf"{PROGRAMS}/([a-z-]+)", text):
            place = tmp_path / "bin" / program
            place.parent.mkdir(exist_ok=True)
            place.write_text("#!/bin/sh\n")
            place.chmod(0o755)
        (tmp_path / name).write_text(text.replace(PROGRAMS, str(tmp_path / "bin")))
    return tmp_path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@needs_systemd
def test_systemd_finds_nothing_wrong(units: Path) -> None:
    done = analyze("verify", "--man=no", *(units / name for name in UNITS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_it_would_find_what_is_wrong(units: Path) -> None:
    unit = units / UNITS[0]
    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSecs=30"))
    assert "WatchdogSecs" in analyze("verify", "--man=no", unit).stderr


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_how_exposed_it_is(units: Path, name: str) -> None:
    done = analyze("security", "--offline=yes", units / name)
    (score,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(score) <= EXPOSURE_MOST[name], done.stdout


@pytest.mark.parametrize("name", UNITS)
def test_each_program_is_one_of_ours(name: str) -> None:
    scripts = (REPOSITORY / "pyproject.toml").read_text()
    known = set(re.findall(r"^(rbln-[a-z]+) = ", scripts, re.MULTILINE))
    used = re.findall(rf"{PROGRAMS}/([a-z-]+)", (DEPLOYMENTS / name).read_text())
    assert used
    assert set(used) <= known


def test_it_may_write_where_the_code_writes_and_nowhere_else() -> None:
    unit = settings("rbln-supervisor.service")
    chosen = parse_arguments(unit["ExecStart"][0].split()[1:], in_container=False)
    assert f"/run/{unit['RuntimeDirectory'][0]}" == str(chosen.run_dir)
    assert chosen.registration == "auto", "by kubelet.sock: its folder is there"
    wanted = {str(chosen.kubelet_dirs.device_plugins), devinfo.FOLDER, cdi.FOLDER}
    writable = {path.replace("/var/run/", "/run/") for path in wanted}
    assert set(unit["ReadWritePaths"][0].split()) == writable
    made = tmpfiles()
    assert writable | {str(chosen.run_dir)} <= made.keys(), "a folder that is missing stops a start"
    assert made[str(chosen.run_dir)] == unit["RuntimeDirectoryMode"][0]


def test_the_drop_in_for_dra_adds_what_dra_needs() -> None:
    drop_in = "rbln-supervisor.service.d/dra.conf"
    unit, plain = settings(drop_in), settings("rbln-supervisor.service")
    dirs = parse_arguments(plain["ExecStart"][0].split()[1:], in_container=False).kubelet_dirs
    writable = {str(dirs.plugins), str(dirs.plugins_registry)}
    assert set(unit["ReadWritePaths"][0].split()) == writable
    assert writable == tmpfiles("rbln-dra.tmpfiles.conf").keys()
    assert unit["RestrictAddressFamilies"] == ["AF_INET AF_INET6"]
    assert plain["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK"]
    assert (plain["IPAddressDeny"], "IPAddressAllow" in plain) == (["any"], False)
    assert unit["EnvironmentFile"][0].startswith("-"), "the file may be missing"


def test_the_tmpfiles_only_make_folders_and_each_after_its_parent() -> None:
    known = {"/run", "/var/lib"}
    for path in (*tmpfiles(), *tmpfiles("rbln-dra.tmpfiles.conf")):
        assert str(Path(path).parent) in known
        known.add(path)


def tmpfiles(name: str = "rbln.tmpfiles.conf") -> dict[str, str]:
    """Folders and their modes, in order."""
    found = {}
    for line in (DEPLOYMENTS / name).read_text().splitlines():
        if line and not line.startswith("#"):
            kind, path, mode, user, group, age = line.split()
            assert (kind, user, group, age) == ("d", "root", "root", "-"), line
            found[path] = mode
    return found


def test_it_is_there_before_the_kubelet() -> None:
    """Pods of before a reboot are admitted a second after kubelet.sock is made."""
    unit = settings("rbln-supervisor.service")
    assert "kubelet.service" in " ".join(unit["Before"]).split()
    assert "kubelet.service" not in " ".join(unit["After"])
    assert not {"Requires", "Wants", "BindsTo", "PartOf"} & unit.keys(), "either starts alone"


def test_what_the_unit_says_of_ends_and_times() -> None:
    unit = settings("rbln-supervisor.service")
    assert unit["Type"] == ["notify"]
    assert float(unit["TimeoutStartSec"][0]) > READY_TIMEOUT_S
    assert float(unit["WatchdogSec"][0]) >= 30, "a turn of the loop may wait for a busy machine"
    assert unit["KillMode"] == ["process"]
    assert unit["RuntimeDirectoryPreserve"] == ["restart"]
    assert unit["RestartPreventExitStatus"] == [str(Exit.USAGE.value)]
    assert "OOMPolicy" in unit
