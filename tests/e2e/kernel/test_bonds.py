"""Bonds and teams of two cards, as rtnetlink tells of them: who is in one, and when it has carrier.

No emulated card has an eswitch in switchdev mode, whose bond carries its VFs
(core/discovery/links.py). The kernel's answers are real; the ID of the eswitch is the test's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from rbln_supervisor.core.discovery.links import Links
from rbln_worker.contract.device import LinkState
from rbln_worker.host.netlink import rtnetlink
from tests.e2e.kernel import net, pci
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.listening import LINK, Listening
from tests.e2e.kernel.net import Nic
from tests.e2e.kernel.vm.qmp import Qmp

pytestmark = pytest.mark.by_kernel

KINDS = {"bond": "type bond mode active-backup miimon 100", "team": "type team"}
LAG = "lag1"


@contextmanager
def aggregated(kind: str, *interfaces: str) -> Iterator[None]:
    """Have a bond or a team of some interfaces for a while."""
    members = (
        command
        for name in interfaces
        for command in (
            f"link set {name} down",
            f"link set {name} master {LAG}",
            f"link set {name} up",
        )
    )
    try:
        net.iproute(f"link add {LAG} {KINDS[kind]}", *members, f"link set {LAG} up")
        yield
    finally:
        net.iproute(f"link del {LAG}", *(f"link set {name} down" for name in interfaces))


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_two_members_is_enough(
    kind: str, nics: tuple[Nic, Nic], monitor: Qmp, listening: Listening, note: Note
) -> None:
    first, second = nics
    names = (first.interface, second.interface)
    began = monotonic()
    with aggregated(kind, *names):
        listening.last(LINK, f"{LAG} up", began)
        lag, *members = states(LAG, *names)
        assert lag.kind == kind
        assert {one.master for one in members} == {index_of(LAG)}
        wait_up([True, True, True], LAG, *names)

        began = monotonic()
        monitor("set_link", name=first.qemu, up=False)
        listening.last(LINK, f"{first.interface} down", began)
        wait_up([True, False, True], LAG, *names)
        assert carried_by(*names) == dict.fromkeys(names, True)

        began = monotonic()
        monitor("set_link", name=second.qemu, up=False)
        cut = listening.last(LINK, f"{second.interface} down", began)
        down = listening.last(LINK, f"{LAG} down", began)
        wait_up([False, False, False], LAG, *names)
        assert carried_by(*names) == dict.fromkeys(names, False)

        began = monotonic()
        monitor("set_link", name=first.qemu, up=True)
        listening.last(LINK, f"{LAG} up", began)
        wait_up([True, True, False], LAG, *names)
        monitor("set_link", name=second.qemu, up=True)
        listening.last(LINK, f"{second.interface} up", began)
    assert [one.master for one in states(*names)] == [None, None]
    note(f"a {kind} whose last member loses its carrier", f"the {kind} is down", down - cut)


def states(*names: str) -> list[LinkState]:
    """Return what rtnetlink says of links, in this order."""
    known = {state.name: state for state in rtnetlink.read_links().states.values()}
    return [known[name] for name in names]


def wait_up(wanted: list[bool], *names: str) -> None:
    """Wait until links are up or down as wanted: a bond looks at its members each 0.1 s."""
    what = f"{names} are up: {wanted}"
    pci.until(lambda: [one.up for one in states(*names)] == wanted, what=what)


def index_of(name: str) -> int:
    """Return a link's index."""
    return rtnetlink.read_links().indexes[name]


def carried_by(*uplinks: str) -> dict[str, bool]:
    """Return the carrier of what VFs of these uplinks leave by, were they of one eswitch."""
    table = (
        Links()
        .scan_finished(rtnetlink.read_links().states)
        .link_table(dict.fromkeys(uplinks, "cafe"))
    )
    return {name: lag.up for name, lag in table.lags.items()}
