"""Claims survive the end of their process between any two file operations."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rbln_worker.core.dra.claims import ClaimError
from tests.sim.claim_steps import IDS, board, plan, prepare, records
from tests.sim.stack import REPOSITORY


def killed_folders(base: Path, operation: str) -> list[Path]:
    """Folders of processes that were killed, and of one that was not."""
    command = [sys.executable, "-m", "tests.sim.claim_steps", str(base), operation]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return [base / str(step) for step in range(1, int(run.stdout) + 1)]


def specs(folder: Path) -> set[str]:
    """UIDs with a spec."""
    return {path.stem.partition("_")[2] for path in (folder / "cdi").glob("*")}


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".new")]


def claims(folder: Path) -> dict[str, str]:
    """States by UID in the checkpoint."""
    content = json.loads((folder / "plugin" / "checkpoint.json").read_text())
    return {uid: claim["state"] for uid, claim in content["claims"].items()}


def check_consistent(folder: Path, *, prepared: set[str]) -> None:
    assert claims(folder) == dict.fromkeys(prepared, "done")
    assert specs(folder) == prepared
    assert {path.name for path in (folder / "plugin" / "metadata").iterdir()} == prepared
    assert leftovers(folder) == []


@pytest.mark.parametrize(("operation", "steps"), [("prepare", 10), ("group", 14)])
def test_a_prepare_that_was_killed_is_undone_at_a_start_or_completed_by_a_call(
    tmp_path: Path, operation: str, steps: int
) -> None:
    folders = killed_folders(tmp_path, operation)
    assert len(folders) > steps
    for number, folder in enumerate(folders):
        of = records(folder)
        if number % 2:  # the kubelet's call comes first in every other one
            prepare(of, plan("uid-1", IDS[0], IDS[1]))
        of.recover_claims(board())
        done = {entry.uid for entry in of.entries}
        check_consistent(folder, prepared=done)
        assert "uid-0" in done, folder
        prepare(of, plan("uid-1", IDS[0], IDS[1]))
        check_consistent(folder, prepared={"uid-0", "uid-1"})
        of.remove_claim("uid-1")
        check_consistent(folder, prepared={"uid-0"})


def test_an_unprepare_that_was_killed_is_completed_by_the_next_call_or_start(
    tmp_path: Path,
) -> None:
    folders = killed_folders(tmp_path, "unprepare")
    assert len(folders) > 5
    for number, folder in enumerate(folders):
        of = records(folder)
        if number % 2:
            of.recover_claims(board())
        of.remove_claim("uid-1")
        of.recover_claims(board())
        check_consistent(folder, prepared={"uid-0"})
        # Nothing of the claim keeps its devices from another one.
        prepare(of, plan("uid-3", IDS[0], IDS[1]))


def test_a_start_that_was_killed_is_completed_by_the_next_start(tmp_path: Path) -> None:
    for folder in killed_folders(tmp_path, "recover"):
        of = records(folder)
        of.recover_claims(board(first_node=5))
        check_consistent(folder, prepared={"uid-0", "uid-1"})
        text = (folder / "cdi" / "rbln-claim-npu.rebellions.ai_uid-1.yaml").read_text()
        assert "/dev/rbln5" in text, "the specs name the nodes of now"
        assert "/dev/rbln0" not in text


def test_a_device_is_never_in_two_claims_whenever_the_first_was_killed(tmp_path: Path) -> None:
    holders = set()
    for folder in killed_folders(tmp_path, "group"):
        of = records(folder)
        with contextlib.suppress(ClaimError):
            prepare(of, plan("uid-9", IDS[1]))
        (holder,) = (one for one in of.entries if IDS[1] in {device.id for device in one.devices})
        holders.add(holder.uid)
    assert holders == {"uid-1", "uid-9"}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"schema":2,"claims":{}}', b"\xff\x00"])
def test_a_corrupt_checkpoint_is_set_aside_and_made_again_from_specs(
    tmp_path: Path, text: bytes
) -> None:
    of = records(tmp_path)
    prepare(of, plan("uid-0", IDS[0]))
    before = of.entries
    path = tmp_path / "plugin" / "checkpoint.json"
    path.write_bytes(text)
    again = records(tmp_path)
    again.recover_claims(board())
    assert again.entries == before
    assert (tmp_path / "plugin" / "checkpoint.json.corrupt").read_bytes() == text
    check_consistent(tmp_path, prepared={"uid-0"})
    with pytest.raises(ClaimError, match="in use by claim default/claim-uid-0"):
        prepare(again, plan("uid-1", IDS[0]))


def test_a_huge_checkpoint_is_corrupt(tmp_path: Path) -> None:
    of = records(tmp_path)
    prepare(of, plan("uid-0", IDS[0]))
    before = of.entries
    os.truncate(tmp_path / "plugin" / "checkpoint.json", 1 << 40)
    again = records(tmp_path)
    again.recover_claims(board())
    assert again.entries == before
    assert (tmp_path / "plugin" / "checkpoint.json.corrupt").stat().st_size == 1 << 40


def test_the_checkpoint_of_another_driver_is_kept_for_it(tmp_path: Path) -> None:
    path = tmp_path / "plugin" / "checkpoint.json"
    path.parent.mkdir()
    path.write_text('{"checksum":1,"v1":{"preparedClaims":{}}}')
    of = records(tmp_path)
    prepare(of, plan("uid-0", IDS[0]))
    check_consistent(tmp_path, prepared={"uid-0"})
    assert "checksum" in (tmp_path / "plugin" / "checkpoint.json.foreign").read_text()


def test_a_checkpoint_that_is_gone_is_made_again_from_specs(tmp_path: Path) -> None:
    of = records(tmp_path)
    prepare(of, plan("uid-0", IDS[0]))
    (tmp_path / "plugin" / "checkpoint.json").unlink()
    prepare(of, plan("uid-1", IDS[1]))
    check_consistent(tmp_path, prepared={"uid-0", "uid-1"})


def test_after_a_reboot_earlier_claims_are_history(tmp_path: Path) -> None:
    of = records(tmp_path)
    prepare(of, plan("uid-0", IDS[0]))
    for path in (tmp_path / "cdi").iterdir():
        path.unlink()  # /var/run is a tmpfs
    after = records(tmp_path, boot="boot-2")
    after.recover_claims(board())
    assert after.entries == ()
    check_consistent(tmp_path, prepared=set())
    prepare(after, plan("uid-0", IDS[0]))
    check_consistent(tmp_path, prepared={"uid-0"})


def test_fields_of_a_newer_version_survive(tmp_path: Path) -> None:
    of = records(tmp_path)
    prepare(of, plan("uid-0", IDS[0]))
    path = tmp_path / "plugin" / "checkpoint.json"
    content = json.loads(path.read_text())
    content["newer"] = {"a": 1}
    content["claims"]["uid-0"]["newer"] = [1]
    content["claims"]["uid-0"]["devices"][0]["newer"] = 2
    path.write_text(json.dumps(content))
    again = records(tmp_path)
    prepare(again, plan("uid-1", IDS[1]))
    after = json.loads(path.read_text())
    assert after["newer"] == {"a": 1}
    assert after["claims"]["uid-0"] == content["claims"]["uid-0"]


def test_two_instances_share_the_checkpoint(tmp_path: Path) -> None:
    old, new = records(tmp_path), records(tmp_path)
    prepare(old, plan("uid-0", IDS[0]))
    new.recover_claims(board())
    with pytest.raises(ClaimError, match="in use by claim default/claim-uid-0"):
        prepare(new, plan("uid-1", IDS[0]))
    new.remove_claim("uid-0")
    prepare(old, plan("uid-2", IDS[0]))
    assert {entry.uid for entry in old.entries} == {"uid-2"}
    check_consistent(tmp_path, prepared={"uid-2"})


def test_a_prepare_undoes_itself_if_the_claim_was_unprepared_meanwhile(tmp_path: Path) -> None:
    old, new = records(tmp_path), records(tmp_path)
    prepare(old, plan("uid-0", IDS[2]))
    entry = old.begin_claim(plan("uid-1", IDS[0]), "started", board())
    new.remove_claim("uid-1")
    with pytest.raises(Exception, match="unprepared meanwhile"):
        old.complete_claim(entry, None, board())
    check_consistent(tmp_path, prepared={"uid-0"})


@pytest.mark.parametrize("name", ["cdi", "plugin"])
def test_a_folder_that_cant_be_written_leaves_nothing_half_done(tmp_path: Path, name: str) -> None:
    of = records(tmp_path)
    prepare(of, plan("uid-0", IDS[2]))
    (tmp_path / name).rename(tmp_path / "away")
    (tmp_path / name).write_text("no folder")
    with pytest.raises(Exception, match=f"{tmp_path}/{name}: File exists"):
        prepare(of, plan("uid-1", IDS[0]))
    (tmp_path / name).unlink()
    (tmp_path / "away").rename(tmp_path / name)
    again = records(tmp_path)
    again.recover_claims(board())
    check_consistent(tmp_path, prepared={"uid-0"})


FULL = """
import subprocess, sys
from pathlib import Path
from rbln_worker.dra.checkpoint_file import ClaimFilesError
from tests.sim.claim_steps import IDS, board, plan, prepare, records

folder, name = Path(sys.argv[1]), sys.argv[2]
(folder / "cdi").mkdir()
(folder / "plugin").mkdir()
subprocess.run(("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder / name), check=True)
of = records(folder)
prepare(of, plan("uid-0", IDS[2]))
with (folder / name / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(b"x" * 512)
    except OSError:
        pass
try:
    prepare(of, plan("uid-1", IDS[0]))
except ClaimFilesError as error:
    print(error)
(folder / name / "filler").unlink()
again = records(folder)
again.recover_claims(board())
print(*sorted(entry.uid for entry in again.read_entries()))
prepare(again, plan("uid-1", IDS[0]))
again.remove_claim("uid-1")
print(*sorted(path.name for path in folder.rglob("*uid*")))
"""


@pytest.mark.parametrize("name", ["cdi", "plugin"])
def test_a_full_folder_is_an_error_that_leaves_nothing(tmp_path: Path, name: str) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", FULL, str(tmp_path), name]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    refusal, entries, files = run.stdout.splitlines()
    assert refusal.startswith(f"{tmp_path}/{name}")
    assert refusal.endswith(": No space left on device")
    assert entries == "uid-0"
    assert files == "rbln-claim-npu.rebellions.ai_uid-0.yaml uid-0"
