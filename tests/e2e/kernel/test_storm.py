"""Everything at once, again and again: what the kubelet hears is true in the end, and bounded."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from time import monotonic
from typing import Final

from rbln_supervisor.core.control.protocol import Rescan, RescanReply
from rbln_supervisor.ctl.client import send_request
from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.pools import CARDS, KERNEL, KERNEL_DRIVER, OTHERS, VM
from tests.e2e.kernel.told import AWAY, HEALTHY, Told, heard
from tests.e2e.kernel.vm.machine import SLOTS, VFS
from tests.sim.system import System

ROUNDS: Final = 10
"""Each of two cards does half of them, at the same time."""
PF_STUB: Final = "pci-pf-stub"
"""A driver that does nothing but have VFs: igb resets its card for that, which takes 4 s a round.

What remains is the second that the kernel waits after it took VFs away (drivers/pci/iov.c).
"""


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

    def rescan() -> None:
        for _ in range(ROUNDS):
            assert isinstance(send_request(system.run_dir, Rescan()), RescanReply)

    def rebind() -> None:
        for _ in range(ROUNDS):
            pci.bind(busy, "vfio-pci")
            pci.rebind(busy, KERNEL_DRIVER)

    began = monotonic()
    with ThreadPoolExecutor() as doing:
        storms = [doing.submit(storm, pf) for pf in pfs]
        others = [doing.submit(rescan), doing.submit(rebind)]
    for other in others:
        other.result()
    had = [one.result() for one in storms]
    ended = monotonic()
    true = [heard(system.kubelet, KERNEL, address, HEALTHY) for address in accelerators]
    true += [heard(system.kubelet, CARDS, pf, HEALTHY) for pf in pfs]
    for vf in chain.from_iterable(had):
        heard(system.kubelet, OTHERS, vf, AWAY)
    heard(system.kubelet, VM, busy, AWAY)
    messages = {pool: len(told.messages(pool)) for pool in (KERNEL, VM, CARDS, OTHERS)}
    note(
        f"{ROUNDS} times sriov_numvfs 0 → {VFS} → 0, {ROUNDS} rescans, {2 * ROUNDS} binds at once",
        f"{sum(messages.values())} messages, none superfluous",
        ended - began,
    )
    note("… its end → all pools", "what there is", max(0.0, *(at - ended for at in true)))
    assert told.superfluous() == ()
    # Each change of a driver is at most three steps of a device in its two pools.
    assert messages[KERNEL] + messages[VM] <= 3 * 2 * ROUNDS
    assert messages[OTHERS] <= (2 * ROUNDS + len(SLOTS)) * VFS
    assert messages[CARDS] <= 3 * (ROUNDS + len(SLOTS))
    assert steady not in told.ways(KERNEL)
    for pool in (CARDS, OTHERS):  # nothing in there moves to another pool
        for device, way in told.ways(pool).items():
            assert (HEALTHY, AWAY) not in pairwise(way), f"{device} of {pool} left Healthy: {way}"


def storm(pf: str) -> Sequence[str]:
    """Half of the rounds; the VFs that came and went."""
    vfs: Sequence[str] = ()
    for _ in range(ROUNDS // len(SLOTS)):
        pci.set_vfs(pf, VFS, drivers=True)
        vfs = pci.vfs(pf)
        pci.set_vfs(pf, 0)
    return vfs
