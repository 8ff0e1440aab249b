"""Prepares or unprepares a claim in processes that are killed, each one file operation later.

``python -m tests.sim.claim_steps FOLDER OPERATION``: child number k works in FOLDER/k and is killed
before its k-th operation on a file there, until one ends by itself. Prints their number.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Final

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers.provider import DeviceNode
from rbln_worker.core.dra.claim_entry import ClaimedDevice, ClaimEntry
from rbln_worker.dra.checkpoint_file import CheckpointFile
from rbln_worker.dra.claim_files import ClaimFiles, DeviceBoard
from rbln_worker.dra.claim_records import ClaimRecords

DRIVER: Final = "npu.rebellions.ai"
BOOT: Final = "boot-1"
IDS: Final = tuple(DeviceId(f"0000:{bus}:00.0") for bus in (20, 21, 22))
MAX_STEPS: Final = 200
EVENTS: Final = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"})


def board(first_node: int = 0) -> DeviceBoard:
    """Three NPUs with nodes from this number on."""
    answers = {
        one: DeviceAllocation(
            one, (DeviceNode(f"/dev/rbln{n}", f"/dev/rbln{n}"),), (), f'"{one}":{{}}'
        )
        for n, one in enumerate(IDS, first_node)
    }
    return DeviceBoard(PoolName("rebellions.ai/ATOM"), answers, {})


def records(folder: Path, boot: str = BOOT) -> ClaimRecords:
    """The records of a worker that has just started."""
    files = ClaimFiles(
        DRIVER, "node-1", folder=folder / "plugin", spec_folder=folder / "cdi", root=folder
    )
    checkpoint = CheckpointFile(
        folder / "plugin" / "checkpoint.json", lambda: files.find_entries(boot)
    )
    return ClaimRecords(files, checkpoint, boot)


def plan(uid: str, *devices: DeviceId, admin: bool = False) -> ClaimEntry:
    """A claim of these devices."""
    claimed = tuple(ClaimedDevice(one, ("npus",), admin) for one in devices)
    return ClaimEntry(uid, "default", f"claim-{uid}", "", "started", claimed)


def prepare(of: ClaimRecords, content: ClaimEntry, group: int | None = None) -> None:
    """What a prepare call does with files; with a group if one is given."""
    if of.find_prepared(content.claim, board()) is None:
        entry = of.begin_claim(content, "done" if group is None else "started", board())
        if entry.state == "started":
            of.complete_claim(entry, group, board())


def work(folder: Path, operation: str) -> None:
    """The operation, beside a claim that is prepared already."""
    of = records(folder)
    match operation:
        case "prepare":
            prepare(of, plan("uid-1", IDS[0], IDS[1]))
        case "group":
            prepare(of, plan("uid-1", IDS[0], IDS[1]), group=1)
        case "unprepare":
            of.remove_claim("uid-1")
        case "recover":
            of.recover_claims(board(first_node=5))
        case _:
            raise ValueError(operation)


def setup(folder: Path, operation: str) -> None:
    """What is there before."""
    folder.mkdir()
    of = records(folder)
    prepare(of, plan("uid-0", IDS[2]))
    if operation not in {"prepare", "group"}:
        prepare(of, plan("uid-1", IDS[0], IDS[1]))
    if operation == "recover":
        of.begin_claim(plan("uid-2"), "started", board())


def kill_at(step: int, folder: Path) -> None:
    """End this process before its n-th operation on a file below the folder."""
    left = step

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event not in EVENTS or not str(arguments[0]).startswith(str(folder)):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main(base: Path, operation: str) -> int:
    """Fork until one of them ends by itself; return their number."""
    for step in range(1, MAX_STEPS):
        folder = base / str(step)
        setup(folder, operation)
        pid = os.fork()
        if pid == 0:
            try:
                kill_at(step, folder)
                work(folder, operation)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return step
    raise AssertionError("too many steps")


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2]))
