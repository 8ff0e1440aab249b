"""rbln-ctl support-bundle: everything but secrets, in one file or in none."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest

from rbln_supervisor.core.doctor.redaction import REMOVED
from rbln_worker.host.boot import read_boot_id
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import ATOM_POOL, TWO_POOLS, VM_POOL, config, served

pytestmark = pytest.mark.system

SECRET = "hunter2-Tr0ub4dor&3"  # noqa: S105


def members(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        return {
            member.name.partition("/")[2]: content.read().decode()
            for member in tar.getmembers()
            if (content := tar.extractfile(member))
        }


@pytest.mark.parametrize("alive", [True, False])
def test_a_bundle_has_everything_but_secrets(tmp_path: Path, alive: bool) -> None:  # noqa: FBT001
    secretive = {**ATOM_POOL, "additionalInfo": {"*": {"PASSWORD": SECRET, "a": "b"}}}
    with Stack(config(secretive, VM_POOL)) as stack:
        served(stack)
        if not alive:
            stack.kill()
        path = tmp_path / "b.tar.gz"
        done = stack.ctl("support-bundle", str(path), deadline_s=60)
        assert done.returncode == (0 if alive else 3), done.stderr
        assert path.stat().st_mode & 0o777 == 0o600
        files = members(path)
        assert all(SECRET not in text for text in files.values())
        assert {"MANIFEST.txt", "config.json", "doctor.txt", "events.jsonl", "versions.txt"} <= set(
            files
        )
        assert ("status.json" in files) is alive
        assert "values of additionalInfo are removed" in files["MANIFEST.txt"]
        (pool, _) = json.loads(files["config.json"])["pools"]
        assert pool["spec"]["additional_info"] == {"*": {"PASSWORD": REMOVED, "a": REMOVED}}
        assert files["MANIFEST.txt"] in done.stdout
        assert "serving" in files["logs/rebellions.ai_ATOM.log"]
        assert "0000:20:00.0  vendor=0x1eff" in files["host/pci-functions.txt"]
        assert len([name for name in files if name.startswith("processes/")]) == (3 if alive else 2)
        again = stack.ctl("support-bundle", str(path), deadline_s=60)
        assert again.returncode == 1
        assert "File exists" in again.stderr
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "elsewhere")
        assert stack.ctl("support-bundle", str(link), deadline_s=60).returncode == 1
        assert not (tmp_path / "elsewhere").exists()
        if not alive:
            stack.start()
            stack.wait_status(lambda now: now.supervisor.ready, what="it goes on")


def test_a_bundle_has_claims_and_nothing_else_of_checkpoints(tmp_path: Path) -> None:
    entry = {
        "uid": "u1",
        "namespace": "ml",
        "name": "npus",
        "boot": read_boot_id(),
        "state": "done",
        "devices": [{"id": "0000:20:00.0", "requests": ["npus"]}],
        "token": SECRET,
    }
    with Stack(TWO_POOLS) as stack:
        served(stack)
        for driver, claims in (("npu.x.ai", {"u1": entry}), ("other.x.ai", SECRET)):
            folder = stack.root / "var/lib/kubelet/plugins" / driver
            folder.mkdir(parents=True)
            content = {"schema": 1, "claims": claims, "more": SECRET}
            (folder / "checkpoint.json").write_text(json.dumps(content))
        path = tmp_path / "b.tar.gz"
        assert stack.ctl("support-bundle", str(path), deadline_s=60).returncode == 0
        files = members(path)
        (line,) = files["host/claims.jsonl"].splitlines()
        assert json.loads(line)["claim"] == "ml/npus"
        assert all(SECRET not in text for text in files.values())


def test_a_bundle_where_the_configuration_is_torn(tmp_path: Path) -> None:
    secretive = {**ATOM_POOL, "additionalInfo": {"*": {"x": SECRET}}}
    with Stack(config(secretive, VM_POOL)) as stack:
        served(stack)
        whole = msgspec.json.encode(config(secretive)).decode()
        stack.write_config(whole[: whole.index("Tr0ub4dor") + 15])
        stack.ctl("reload")
        path = tmp_path / "b.tar.gz"
        assert stack.ctl("support-bundle", str(path), deadline_s=60).returncode == 0
        files = members(path)
        assert "config.json" not in files
        assert "config.json is left out" in files["MANIFEST.txt"]
        assert all(SECRET not in text for text in files.values())


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("b.tar.gz", "File too large"),  # as a full disk, half of it is written before it fails
        ("nowhere/b.tar.gz", "No such file or directory"),
        ("", "File exists"),
        ("/sys/b.tar.gz", "/sys/b.tar.gz: "),
    ],
)
def test_a_bundle_that_can_not_be_written_leaves_nothing(
    tmp_path: Path, place: str, why: str
) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        program = f"{sys.executable} -m rbln_supervisor.ctl --run-dir {stack.run_dir}"
        done = subprocess.run(
            ["sh", "-c", f"ulimit -f 1; exec {program} support-bundle '{tmp_path / place}'"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("rbln-ctl: ")
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not list(tmp_path.iterdir())
