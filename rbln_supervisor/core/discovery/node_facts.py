"""The node as the last discovery and the link events since then describe it."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from rbln_supervisor.core.discovery.carry_over import with_carried_over
from rbln_supervisor.core.discovery.links import (
    Links,
    LinkTable,
    interface_owners,
    switchdev_uplinks,
)
from rbln_supervisor.core.discovery.partial import merge_partial
from rbln_worker.contract.device import Bdf, LinkState
from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from rbln_worker.contract.problem import Code, Problem, make_problem


class NodeFacts(msgspec.Struct, frozen=True):
    """The facts of the node."""

    inventory: NodeInventory | None = None
    """Devices; None before the first discovery."""
    links: Links = Links()
    owners: Mapping[str, frozenset[Bdf]] = {}
    """Functions by the name of their interface."""
    problems: tuple[Problem, ...] = ()
    """Problems of the last discovery."""

    @property
    def link_table(self) -> LinkTable:
        """Current link table."""
        return self.links.link_table(switchdev_uplinks(self.inventory or NodeInventory()))


def after_discovery(
    facts: NodeFacts, result: DiscoveryResult, recalled: NodeInventory
) -> NodeFacts:
    """Return the facts after a discovery.

    Functions that a partial discovery did not read stay as they were. ``recalled``: an earlier
    supervisor's facts, for the first discovery.
    """
    if result.failed is not None:
        failure = make_problem(Code.DISCOVERY_FAILED, result.failed)
        return msgspec.structs.replace(facts, problems=(failure,))
    if result.discovered is None:
        found, problems = result.node, result.problems
        links = facts.links.scan_finished(result.links)
    else:
        found = merge_partial(facts.inventory or NodeInventory(), result.node, result.discovered)
        problems = tuple(dict.fromkeys((*facts.problems, *result.problems)))
        links = facts.links
    inventory = with_carried_over(facts.inventory or recalled, found)
    return NodeFacts(inventory, links, interface_owners(inventory), problems)


class LinkEffect(NamedTuple):
    """The consequences of a link event."""

    is_news: bool = False
    """True if the link belongs to a device and differs from its known state."""
    moved: frozenset[Bdf] = frozenset()
    """Functions whose interface came, went or was renamed: they need a discovery."""


def after_link_event(
    facts: NodeFacts, index: int, state: LinkState | None
) -> tuple[NodeFacts, LinkEffect]:
    """Return the facts after a link event (None: the link is gone), and its consequences."""
    before, owners = facts.links.known.get(index), facts.owners
    after = msgspec.structs.replace(facts, links=facts.links.on_event(index, state))
    names = {link.name for link in (before, state) if link is not None} & owners.keys()
    if before == state:
        return after, LinkEffect()
    if not names:  # a bond's state depends on its members
        members = after.links.bond_members(index, before, state)
        return after, LinkEffect(is_news=not members.isdisjoint(owners))
    if before is not None and state is not None and before.name == state.name:
        return after, LinkEffect(is_news=True)
    moved = frozenset().union(*(owners[name] for name in names))
    return after, LinkEffect(is_news=True, moved=moved)
