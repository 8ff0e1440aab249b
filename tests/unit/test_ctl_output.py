"""Where rbln-ctl writes, what it makes of wrong usage, and files without a supervisor."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.status import DeviceStatus
from tests.unit.asking import ROOT, STATUS, ctl, supervisor


@pytest.mark.parametrize("flag", ["--json", "--run-dir=R"])
def test_a_reader_that_has_enough(run_dir: Path, flag: str) -> None:
    devices = {f"{n:04x}:00:00.0": DeviceStatus("Healthy", "", 0) for n in range(3000)}
    pool = msgspec.structs.replace(STATUS.pools["rebellions.ai/ATOM"], devices=devices)
    status = msgspec.structs.replace(STATUS, pools={"rebellions.ai/ATOM": pool})
    with supervisor(run_dir, protocol.encode(protocol.StatusReply(status))):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "rbln_supervisor.ctl", flag, "status", f"--run-dir={run_dir}"],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("flags", [("--json",), ()])
def test_a_failure_is_one_even_if_nobody_listens(tmp_path: Path, flags: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "rbln_supervisor.ctl", "validate", str(tmp_path), *flags],
        cwd=ROOT,
        stdout=writer,
        stderr=writer,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 1


@pytest.mark.parametrize("arguments", ["status", "validate conf/atom.json", "--help", "stat"])
def test_without_output_or_errors_there_is_an_exit_code(arguments: str) -> None:
    command = f"{sys.executable} -m rbln_supervisor.ctl {arguments} >&- 2>&- --run-dir /nowhere"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == {"status": 3, "stat": 2}.get(arguments, 0)


def test_an_output_that_takes_nothing(run_dir: Path) -> None:
    with (
        supervisor(run_dir, protocol.encode(protocol.StatusReply(STATUS))),
        Path("/dev/full").open("w") as full,
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rbln_supervisor.ctl", "status", f"--run-dir={run_dir}"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"rbln-ctl: OSError: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("stat",),
        ("explain",),
        ("status", "--js"),
        ("status", "x"),
        ("validate",),
        ("--run-dir",),
        ("-x",),
        ("events", "-n", "few"),
        ("doctor", "--kubelet-dir", "/var/lib/kubelet"),
    ],
)
def test_wrong_usage(arguments: Sequence[str]) -> None:
    done = ctl(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: rbln-ctl ")
    assert " _" not in done.stderr, "a function's name tells nobody what was expected"


def test_validate_a_good_file() -> None:
    done = ctl("validate", "conf/products.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "conf/products.yaml: valid, 6 pools\n"
        "  rebellions.ai/CA02 (accelerator, 1 selector object)\n"
    )
    done = ctl("validate", "conf/atom.json", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "valid": True,
        "pools": ["rebellions.ai/ATOM"],
        "warnings": ["line 1, column 1: comment (accepted)"],
    }


def test_validate_refuses_for_one_pool(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    good = '{"resourceName": "A", "deviceType": "accelerator", "selectors": {}}'
    bad = '{"resourceName": "A", "deviceType": "accelerator", "selectors": {"vendors": "1eff"},}'
    path.write_text(f'{{"resourceList": [{good}, {bad}]}}')
    done = ctl("validate", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{path}: resourceList[1].selectors.vendors: expected array, got string\n"
        f"{path}: resourceList[1].resourceName: intel.com/A is the name of resourceList[0], "
        "expected a name of its own\n"
        f"{path}: warning: line 1, column 171: trailing comma (accepted)\n"
    )
    done = ctl("validate", path, "--json", "--resource-prefix", "rebellions.ai")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert not answer["valid"]
    assert len(answer["errors"]) == 2
    assert "rebellions.ai/A is the name of" in answer["errors"][1]


def test_validate_what_is_no_file(tmp_path: Path) -> None:
    done = ctl("validate", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"rbln-ctl: {tmp_path}: can't be read: Is a directory\n"
    done = ctl("validate", tmp_path, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"] == [f"{tmp_path}: can't be read: Is a directory"]


def test_validate_needs_neither_zeromq_nor_rich() -> None:
    code = (
        "import sys; from rbln_supervisor.ctl.main import main; main(['validate', sys.argv[1]]);"
        "sys.exit(sum(name in sys.modules for name in ('zmq', 'rich', 'grpc', 'yaml')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "conf/atom.json"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0
