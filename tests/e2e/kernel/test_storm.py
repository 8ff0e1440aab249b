"""Everything at once, again and again: what the kubelet hears is true in the end, and bounded."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, pairwise
from time import monotonic
from typing import Final

from rbln_supervisor.core.commands import Rescan, Rescanned
from rbln_supervisor.ctl.client import ask
from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.pools import CARDS, KERNEL, KERNEL_DRIVER, OTHERS, VM
from tests.e2e.kernel.told import AWAY, HEALTHY, UNHEALTHY, Told, Way, heard
from tests.e2e.kernel.vm.machine import SLOTS, VFS
from tests.sim.system import System

ROUNDS: Final = 20
"""Each of two cards does half of them, at the same time."""
PF_STUB: Final = "pci-pf-stub"
"""A driver that does nothing but have VFs: igb resets its card for that, which takes 4 s a round.

What remains is the second that the kernel waits after it took VFs away (drivers/pci/iov.c).
"""
STEPS: Final = {(AWAY, HEALTHY), (HEALTHY, UNHEALTHY), (UNHEALTHY, HEALTHY), (UNHEALTHY, AWAY)}


def test_a_storm(
    system: System,
    plug_card: Callable[[str, str], str],
    accelerators: tuple[str, str],
    note: Note,
) -> None:
    pfs = [plug_card(f"storm-{slot}", slot) for slot in SLOTS]
    for pf in pfs:
        heard(system.kubelet, CARDS, pf, HEALTHY)
        pci.bind(pf, PF_STUB)
    steady, busy = accelerators
    for address in accelerators:
        heard(system.kubelet, KERNEL, address, HEALTHY)
    told = Told(system.kubelet, KERNEL, VM, CARDS, OTHERS)
    counts = {"rescans": 0, "binds": 0}

    def rescan() -> None:
        assert isinstance(ask(system.run_dir, Rescan()), Rescanned)
        counts["rescans"] += 1

    def rebind() -> None:
        pci.bind(busy, "vfio-pci")
        pci.rebind(busy, KERNEL_DRIVER)
        counts["binds"] += 2

    began = monotonic()
    with again_and_again(rescan), again_and_again(rebind), ThreadPoolExecutor() as cards:
        had = list(cards.map(storm, pfs))
    ended = monotonic()
    true = [heard(system.kubelet, KERNEL, address, HEALTHY) for address in accelerators]
    true += [heard(system.kubelet, CARDS, pf, HEALTHY) for pf in pfs]
    for vf in chain.from_iterable(had):
        heard(system.kubelet, OTHERS, vf, AWAY)
    heard(system.kubelet, VM, busy, AWAY)
    messages = {pool: len(told.messages(pool)) for pool in (KERNEL, VM, CARDS, OTHERS)}
    note(
        f"sriov_numvfs 0 → {VFS} → 0, {ROUNDS} times, beside {counts['rescans']} rescans, "
        f"{counts['binds']} binds",
        f"{sum(messages.values())} messages, none superfluous",
        ended - began,
    )
    note("… its end → all pools", "what there is", max(0.0, *(at - ended for at in true)))
    assert told.superfluous() == ()
    # Each change of a driver is at most three steps of a device in its two pools.
    assert messages[KERNEL] + messages[VM] <= 3 * counts["binds"]
    assert messages[OTHERS] <= (2 * ROUNDS + len(SLOTS)) * VFS
    assert messages[CARDS] <= ROUNDS * 3 + len(SLOTS)
    assert steady not in told.ways(KERNEL)
    for pool in (KERNEL, VM, CARDS, OTHERS):
        for device, way in told.ways(pool).items():
            assert not odd(way, moves=device == busy), f"{device} of {pool}: {way}"


def storm(pf: str) -> Sequence[str]:
    """Half of the rounds; the VFs that came and went."""
    vfs: Sequence[str] = ()
    for _ in range(ROUNDS // len(SLOTS)):
        pci.set_vfs(pf, VFS, drivers=True)
        vfs = pci.vfs(pf)
        pci.set_vfs(pf, 0)
    return vfs


def odd(way: Way, *, moves: bool) -> set[tuple[str, str]]:
    """Steps that no device takes: it comes Healthy, and leaves Unhealthy unless it moves."""
    return set(pairwise(way)) - STEPS - ({(HEALTHY, AWAY)} if moves else set())


@contextmanager
def again_and_again(change: Callable[[], None]) -> Iterator[None]:
    """Do it all the time that the block takes, and to the end; an error of it is the block's."""
    over = threading.Event()
    errors: list[BaseException] = []

    def loop() -> None:
        try:
            while not over.is_set():
                change()
        except BaseException as error:  # noqa: BLE001 - raised where the test sees it
            errors.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]
