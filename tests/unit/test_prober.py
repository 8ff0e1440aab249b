"""Looks at devices whose files hang, with real files and real threads."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import Bdf, Carrier, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.health.evidence import CheckResult, Depth
from rbln_worker.core.health.observation import GOOD, Bad, Doubt, Unknown
from rbln_worker.health.probe_threads import SLOTS, Prober
from tests.sim.node import SimNode
from tests.sim.nodes import npus
from tests.sim.tree import Tree

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")


def build(root: Path, count: int) -> tuple[SimNode, list[Device]]:
    node = SimNode(root)
    made = npus(count)
    node.add(*made)
    return node, [
        Device(DeviceId(n.bdf), PciFunction(Bdf(n.bdf), "1eff", n.device, 0x12, "rebellions", 0))
        for n in made
    ]


@contextmanager
def looking(root: Path, *, check_timeout_s: float = 5.0, max_hanging: int = 64) -> Iterator[Prober]:
    """A prober; at the end whoever hangs at a pipe is let go, so that its thread can end."""
    yield Prober(
        root,
        host_visible=True,
        write_info=lambda _: "",
        tally=WorkerCounters(),
        check_timeout_s=check_timeout_s,
        max_hanging=max_hanging,
    )
    release(root)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what happens inside of a prober has no event
        await asyncio.sleep(0.001)


def release(root: Path, text: str = "0\n") -> None:
    """Answer everybody who hangs, and whoever comes later finds a file."""
    tree = Tree(root)
    for path in root.rglob("*"):
        if path.is_fifo():
            tree.answer(f"/{path.relative_to(root)}", text)


async def settled(
    one: Prober, devices: list[Device], enough: Callable[[Mapping[DeviceId, CheckResult]], bool]
) -> Mapping[DeviceId, CheckResult]:
    """All that was found as soon as it is enough; the look goes on without us."""
    found: dict[DeviceId, CheckResult] = {}
    async for more in one.check_devices(devices, POOL):
        found |= more
        if enough(found):
            break
    return found


def run(scene: Awaitable[None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(scene, 30)

    asyncio.run(limited())


def test_quick_devices_come_together(tmp_path: Path) -> None:
    node, devices = build(tmp_path, 6)
    node.set_status("rbln1", 3)
    node.remove_dev_node("rbln2")

    async def scene() -> None:
        with looking(tmp_path) as one:
            batches = [found async for found in one.check_devices(devices, POOL)]
        (found,) = (batch for batch in batches if batch)
        seen = [found[device.id].evidence.observation for device in devices]
        assert seen[0] == seen[3] == GOOD
        assert isinstance(seen[1], Bad)
        assert isinstance(seen[2], Doubt)
        assert found[devices[2].id].unusable == "/dev/rbln2 does not exist"
        assert [found[device.id].answer is not None for device in devices] == [True] * 6

    run(scene())


def test_a_look_without_devices_ends_with_nothing(tmp_path: Path) -> None:
    _, devices = build(tmp_path, 1)
    gone = Device(devices[0].id, devices[0].function, gone="unplugged")

    async def scene() -> None:
        with looking(tmp_path) as one:
            for chosen in ([], [gone]):
                assert [found async for found in one.check_devices(chosen, POOL)] == [{}]

    run(scene())


@pytest.mark.parametrize("hanging", [1, 6])
def test_those_that_hang_keep_nobody(tmp_path: Path, hanging: int) -> None:
    node, devices = build(tmp_path, hanging + 5)
    for device in range(hanging):
        node.hang_status(f"rbln{device}")

    async def scene() -> None:
        with looking(tmp_path) as one:
            well = {device.id for device in devices[hanging:]}
            found = await settled(one, devices, lambda found: well <= found.keys())
            assert {device: f.evidence.observation for device, f in found.items()} == dict.fromkeys(
                well, GOOD
            )
            for _ in range(3):  # and no more at later looks
                found = await settled(one, devices, lambda found: well <= found.keys())
                assert found.keys() == well

    run(scene())


def test_who_does_not_answer_in_time_is_unknown_until_he_does(tmp_path: Path) -> None:
    node, devices = build(tmp_path, 1)
    node.hang_status("rbln0")

    async def scene() -> None:
        with looking(tmp_path, check_timeout_s=0.3) as one:
            looks = one.check_devices(devices, POOL)
            assert await anext(looks) == {}
            silent = (await anext(looks))[devices[0].id]
            assert isinstance(silent.evidence.observation, Unknown)
            assert silent.answer is None
            # Who asks again hears the same at once, and that he has to come back.
            assert [found async for found in one.check_devices(devices, POOL)] == [
                {devices[0].id: silent}
            ]
            assert one.requested_meanwhile() == set()
            release(tmp_path, "3\n")
            late = (await anext(looks))[devices[0].id]
            assert isinstance(late.evidence.observation, Bad)
            assert one.requested_meanwhile() == {devices[0].id}
            assert one.requested_meanwhile() == set()
            assert [found async for found in looks] == []

    run(scene())


async def glanced(
    one: Prober, devices: list[Device], depth: Depth = Depth.VOLATILE
) -> Mapping[DeviceId, CheckResult]:
    found: dict[DeviceId, CheckResult] = {}
    async for more in one.check_devices(devices, POOL, depth):
        found |= more
    return found


def test_a_glance_finds_what_changed_and_passes_over_the_rest(tmp_path: Path) -> None:
    node, devices = build(tmp_path, 3)

    async def scene() -> None:
        with looking(tmp_path) as one:
            assert len(await glanced(one, devices)) == 3, "nobody has looked at them before"
            assert await glanced(one, devices) == {}
            node.set_status("rbln1", 3)
            (found,) = (await glanced(one, devices)).items()
            assert found[0] == devices[1].id
            assert isinstance(found[1].evidence.observation, Bad)
            assert await glanced(one, devices) == {}
            elsewhere = msgspec.structs.replace(
                devices[2], carriers=(Carrier("p0", "pf", up=True),)
            )
            assert (await glanced(one, [elsewhere])).keys() == {devices[2].id}, "another device"

    run(scene())


def test_a_check_finds_whatever_changed_and_passes_over_the_rest(tmp_path: Path) -> None:
    node, devices = build(tmp_path, 5)
    homes = [node.home(device.id) for device in devices]

    async def scene() -> None:
        with looking(tmp_path) as one:
            assert len(await glanced(one, devices, Depth.IF_CHANGED)) == 5, "nobody has looked yet"
            assert await glanced(one, devices, Depth.IF_CHANGED) == {}
            node.set_status("rbln0", 3)
            (tmp_path / "dev/rbln1").unlink()
            node.tree.write(f"{homes[2]}/current_link_width", "8\n")
            node.tree.write(f"{homes[3]}/aer_dev_fatal", "TOTAL_ERR_FATAL 1\n")
            found = await glanced(one, devices, Depth.IF_CHANGED)
            assert found.keys() == {device.id for device in devices[:4]}
            status, gone, narrow, fatal = (found[device.id] for device in devices[:4])
            assert isinstance(status.evidence.observation, Bad)
            assert gone.unusable == "/dev/rbln1 does not exist"
            assert narrow.evidence.warnings
            assert fatal.evidence.fatal_errors == 1
            assert await glanced(one, devices, Depth.IF_CHANGED) == {}
            (tmp_path / "dev/rbln1").touch()
            assert (await glanced(one, devices, Depth.IF_CHANGED)).keys() == {devices[1].id}

    run(scene())


def test_a_function_that_sleeps_is_asked_for_no_more(tmp_path: Path) -> None:
    node, devices = build(tmp_path, 1)
    home = f"{node.home(devices[0].id)}"

    async def scene() -> None:
        with looking(tmp_path) as one:
            node.tree.write(f"{home}/power/runtime_status", "active\n")
            await glanced(one, devices)
            node.tree.write(f"{home}/power/runtime_status", "suspended\n")
            config = tmp_path / home.lstrip("/") / "config"
            config.unlink()
            os.mkfifo(config)  # a read of it would hang
            assert (await glanced(one, devices)).keys() == {devices[0].id}

    run(scene())


def test_who_did_not_answer_to_a_glance_is_looked_at_by_the_next_one(tmp_path: Path) -> None:
    node, devices = build(tmp_path, 1)

    async def scene() -> None:
        with looking(tmp_path, check_timeout_s=0.3) as one:
            await glanced(one, devices)
            node.hang_status("rbln0")
            looks = one.check_devices(devices, POOL, Depth.VOLATILE)
            assert await anext(looks) == {}
            assert isinstance((await anext(looks))[devices[0].id].evidence.observation, Unknown)
            release(tmp_path)  # with what it was before
            assert [found async for found in looks] == []
            assert (await glanced(one, devices))[devices[0].id].evidence.observation == GOOD

    run(scene())


def test_no_more_than_so_many_hang(tmp_path: Path) -> None:
    node, devices = build(tmp_path, 8)
    for device in range(5):
        node.hang_status(f"rbln{device}")
    threads = threading.active_count()

    async def scene() -> None:
        with looking(tmp_path, max_hanging=3) as one:
            await settled(one, devices[:3], lambda _: True)
            await until(lambda: one._hanging == 3)
            found = await settled(one, devices[3:], lambda found: len(found) == 5)
            for finding in found.values():
                assert finding.evidence.observation == Unknown(
                    "files", "not checked: 3 health checks hang already"
                )
            assert threading.active_count() - threads <= 3 + SLOTS
            release(tmp_path)
            await until(lambda: one._hanging == 0)
            found = await settled(one, devices[5:], lambda found: len(found) == 3)
            assert {finding.evidence.observation for finding in found.values()} == {GOOD}

    run(scene())
