"""RSD groups by a real program that behaves as the vendor's tool does at its best and worst."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

import pytest

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.dra.claim_entry import ClaimedDevice, ClaimEntry
from rbln_worker.core.dra.rsd import RsdError
from rbln_worker.dra.claim_groups import ClaimGroups
from rbln_worker.dra.rsd_tool import DEFAULT_TIMEOUTS, RsdGroups, Timeouts
from rbln_worker.dra.tool_process import find_tool
from tests.sim.rsd import SimRsd

pytestmark = pytest.mark.system

T = TypeVar("T")
NPUS = ("rbln0", "rbln1", "rbln2", "rbln3")
PAIR = ("rbln0", "rbln1")
SOON = Timeouts(change=30.0, tool=1.0, lock=1.0)
"""A call that hangs is seen soon; a slow machine may still need a second for a program."""


@pytest.fixture
def rsd(tmp_path: Path) -> SimRsd:
    return SimRsd(tmp_path, NPUS)


def groups_of(rsd: SimRsd, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> RsdGroups:
    tool = find_tool(rsd.lock.parents[2], rsd.lock)
    assert tool == rsd.tool
    return RsdGroups(tool, rsd.lock, rsd.lock.parents[2], timeouts)


def run(work: Callable[[], Coroutine[None, None, T]]) -> T:
    return asyncio.run(work())


def failure_of(work: Callable[[], Coroutine[None, None, object]]) -> str:
    with pytest.raises(RsdError) as caught:
        run(work)
    return str(caught.value)


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, what
        sleep(0.01)


def test_a_claims_npus_are_one_group_until_it_is_removed(rsd: SimRsd) -> None:
    rsd.set_groups({"rbln0": 0, "rbln1": 0, "rbln2": 1, "rbln3": 0})

    async def live() -> None:
        groups = groups_of(rsd)
        assert await groups.make_group(PAIR, NPUS) == 2
        assert rsd.groups == {1: {"rbln2"}, 2: set(PAIR)}
        assert "rsd2" in rsd.nodes
        assert await groups.make_group(PAIR, NPUS) == 2  # as after a crash
        await groups.destroy_group(2, PAIR)
        assert rsd.groups == {1: {"rbln2"}}
        await groups.destroy_group(2, PAIR)  # it is gone already

    run(live)
    changes = [call for call in rsd.calls if call.startswith("group")]
    assert changes == ["group -c 2 -a 0,1", "group -d 2"]


def test_a_group_that_has_other_members_now_is_anothers(rsd: SimRsd) -> None:
    rsd.set_groups({"rbln0": 1, "rbln1": 0, "rbln2": 1, "rbln3": 0})
    run(lambda: groups_of(rsd).destroy_group(1, PAIR))
    assert rsd.groups == {1: {"rbln0", "rbln2"}}
    assert rsd.calls == ()


def test_an_unused_group_makes_room_and_a_used_one_does_not(rsd: SimRsd) -> None:
    rsd.set_groups({"rbln0": 1, "rbln1": 0, "rbln2": 1, "rbln3": 0})

    async def live() -> None:
        groups = groups_of(rsd)
        with pytest.raises(RsdError, match="rbln2"):
            await groups.make_group(PAIR, ("rbln0", "rbln1", "rbln3"))
        assert rsd.groups == {1: {"rbln0", "rbln2"}}
        assert await groups.make_group(PAIR, ("rbln0", "rbln1", "rbln2")) == 2
        assert rsd.groups == {2: set(PAIR)}

    run(live)


@pytest.mark.parametrize(
    ("create", "reason"),
    [
        ("fails", "rbln-smi group -c 1 -a 0,1: exit status 5: ioctl: Input/output error"),
        ("half", "rbln-smi group -c 1 -a 0,1: exit status 1"),
        ("silent", "rbln-smi made no RSD group 1 of rbln0,rbln1"),
    ],
)
def test_a_group_that_is_not_made_leaves_nothing(rsd: SimRsd, create: str, reason: str) -> None:
    rsd.behave(create=create)
    assert failure_of(lambda: groups_of(rsd).make_group(PAIR, NPUS)) == reason
    assert rsd.groups == {}
    assert rsd.nodes == {"rsd0"}


def test_a_group_that_is_there_although_the_tool_failed_is_used(rsd: SimRsd) -> None:
    rsd.behave(create="made, but fails")
    assert run(lambda: groups_of(rsd).make_group(PAIR, NPUS)) == 1
    assert rsd.groups == {1: set(PAIR)}


@pytest.mark.parametrize(
    ("remove", "reason"),
    [
        ("fails", "rbln-smi group -d 1: exit status 1: cannot destroy group"),
        ("silent", "rbln-smi did not remove RSD group 1"),
    ],
)
def test_a_group_that_stays_is_a_failure(rsd: SimRsd, remove: str, reason: str) -> None:
    rsd.set_groups({"rbln0": 1, "rbln1": 1})
    rsd.behave(remove=remove)
    assert failure_of(lambda: groups_of(rsd).destroy_group(1, PAIR)) == reason


def test_a_tool_that_hangs_is_killed_with_its_children(rsd: SimRsd) -> None:
    rsd.behave(hangs=["group"])
    failure = failure_of(lambda: groups_of(rsd, SOON).make_group(PAIR, NPUS))
    assert failure == "rbln-smi group -c 1 -a 0,1: not finished within 1 s"
    assert len(rsd.hanging) == 2
    wait_for(lambda: not any(is_running(pid) for pid in rsd.hanging), "both have ended")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_loop_goes_on_while_the_tool_hangs_and_another_holds_the_lock(rsd: SimRsd) -> None:
    """Turns of the loop are counted: a call that blocks it has none."""
    turns = 0

    async def live() -> None:
        nonlocal turns
        work = asyncio.create_task(groups_of(rsd, SOON).make_group(PAIR, NPUS))
        while not work.done():
            await asyncio.sleep(0.01)
            turns += 1
        await work

    with rsd.locked():
        assert failure_of(live) == f"{rsd.lock}: held by another program for 1 s"
    assert turns > 5
    assert rsd.calls == ()


def test_a_change_waits_for_another_tool(rsd: SimRsd) -> None:
    async def live() -> object:
        with rsd.locked():
            work = asyncio.create_task(groups_of(rsd).make_group(PAIR, NPUS))
            await asyncio.sleep(0)
            rsd.set_groups({"rbln0": 0, "rbln1": 0, "rbln2": 1, "rbln3": 1})
        return await work

    assert run(live) == 2
    assert rsd.groups == {1: {"rbln2", "rbln3"}, 2: set(PAIR)}


def test_many_claims_at_once_get_a_group_each(tmp_path: Path) -> None:
    npus = tuple(f"rbln{number}" for number in range(12))
    rsd = SimRsd(tmp_path, npus)

    async def live() -> list[int]:
        ours, other = groups_of(rsd), groups_of(rsd)  # two workers have an object each
        return await asyncio.gather(
            *((ours, other)[at % 2].make_group((npu,), npus) for at, npu in enumerate(npus))
        )

    made = run(live)
    assert sorted(str(one) for one in made) == sorted(str(one) for one in range(1, 13))
    assert rsd.groups == {one: {npu} for one, npu in zip(made, npus, strict=True)}


def test_a_driver_whose_list_hangs_costs_one_thread(rsd: SimRsd) -> None:
    async def live() -> None:
        groups = groups_of(rsd, SOON)
        rsd.hang_driver_list()
        with pytest.raises(RsdError, match="not read within 1 s"):
            await groups.make_group(PAIR, NPUS)
        with pytest.raises(RsdError, match="an earlier read has not ended"):
            await groups.make_group(PAIR, NPUS)
        rsd.answer_driver_list()
        async with asyncio.timeout(20):
            while groups._read is not None and not groups._read.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await groups.make_group(PAIR, NPUS) == 1

    run(live)


def test_without_a_folder_for_the_lock_nothing_is_changed(rsd: SimRsd) -> None:
    groups = RsdGroups(rsd.tool, rsd.lock.parent / "missing/lock", rsd.lock.parents[2])
    failure = failure_of(lambda: groups.make_group(PAIR, NPUS))
    assert failure == f"{rsd.lock.parent}/missing/lock: No such file or directory"
    assert rsd.calls == ()


def test_a_program_that_cannot_be_executed_is_no_tool(rsd: SimRsd) -> None:
    rsd.tool.chmod(0o644)
    if os.geteuid() == 0:  # root may execute what anybody may
        assert find_tool(rsd.lock.parents[2], rsd.lock) is None
    rsd.tool.unlink()
    assert find_tool(rsd.lock.parents[2], rsd.lock) is None
    groups = RsdGroups(rsd.tool, rsd.lock, rsd.lock.parents[2])
    failure = failure_of(lambda: groups.make_group(PAIR, NPUS))
    assert failure == "rbln-smi group -c 1 -a 0,1: No such file or directory"


def test_a_group_that_another_program_makes_meanwhile_costs_another_attempt(rsd: SimRsd) -> None:
    rsd.behave(rival={"rbln3": 1})
    assert run(lambda: groups_of(rsd).make_group(PAIR, NPUS)) == 2
    assert rsd.groups == {1: {"rbln3"}, 2: set(PAIR)}


def test_in_a_container_the_tool_needs_the_lock_of_the_host(tmp_path: Path) -> None:
    rsd = SimRsd(tmp_path, NPUS, tool="host/usr/bin/rbln-smi")
    assert find_tool(tmp_path, rsd.lock) is None
    rsd.lock.touch()
    assert find_tool(tmp_path, rsd.lock) == rsd.tool


def test_a_tool_whose_lock_list_or_device_is_out_of_reach_is_not_used(rsd: SimRsd) -> None:
    root = rsd.lock.parents[2]
    assert find_tool(root, rsd.lock.parent / "missing/lock") is None
    rsd.hide_driver_list()
    assert find_tool(root, rsd.lock) is None
    rsd.set_groups(dict.fromkeys(NPUS, 0))
    assert find_tool(root, rsd.lock) == rsd.tool
    (root / "dev/rsd0").unlink()
    assert find_tool(root, rsd.lock) is None


def test_a_claim_whose_npu_loses_its_driver_meanwhile_gets_no_group(rsd: SimRsd) -> None:
    devices = [DeviceId(f"0000:2{number}:00.0") for number in range(2)]
    names = dict(zip(devices, PAIR, strict=True))
    entry = ClaimEntry(
        *("uid", "default", "claim"),
        boot="",
        state="started",
        devices=tuple(ClaimedDevice(device, ("npus",)) for device in devices),
    )

    async def make() -> None:
        async def unbind() -> tuple[ClaimEntry, ...]:
            groups.update_npus({devices[1]: names[devices[1]]})
            return ()

        groups = ClaimGroups(rsd.lock.parents[2], rsd.lock.parent / "kubelet.sock", unbind)
        groups.update_npus(names)
        members = groups.members_of(entry)
        assert members == sorted(PAIR)
        await groups.make_group(entry, members)

    assert "not all of rbln0, rbln1 are its NPUs any more" in failure_of(make)
    assert rsd.groups == {}
