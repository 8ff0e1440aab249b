"""A look at a few functions instead of all: which ones an event concerns, and what comes of it.

A function's own event is about its neighbours, too: a PF is given out or not by whether it has VFs,
and its VFs are called by its interface's name. Everything else of a function is its own.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from rbln_supervisor.core.node import Node
from rbln_worker.contract.device import Bdf, Network, PciFunction

FEW: Final = 64
"""A look at so many is quick on any node (some 40 µs a function)."""


def concerned(named: Iterable[Bdf | None], node: Node) -> frozenset[Bdf] | None:
    """The functions to look at; None: at all of them.

    Args:
        named: by events; None for one that names none.
        node: what is known.
    """
    named = frozenset(named)
    if None in named or node.unreadable:
        return None  # what can't be read has no place that would tell what concerns it
    around = {bdf for bdf in named if bdf is not None}
    for function in node.functions.values():
        if function.pf is not None and (function.pf in named or function.bdf in named):
            around |= {function.pf, function.bdf}
    many = max(FEW, len(node.functions) // 4)
    return frozenset(around) if len(around) <= many else None


def merged(before: Node, now: Node, looked: frozenset[Bdf]) -> Node:
    """The node after a look at a few functions.

    It saw no routes and asked no PF: what left through a function is taken to still do, and its
    link state at its PF to be as it was.
    """
    seen = {bdf: _completed(before.functions.get(bdf), one) for bdf, one in now.functions.items()}
    functions = {bdf: one for bdf, one in before.functions.items() if bdf not in looked}
    below = {bdf: several for bdf, several in before.subfunctions.items() if bdf not in looked}
    return msgspec.structs.replace(
        now,
        functions=dict(sorted({**functions, **seen}.items())),
        subfunctions={**below, **now.subfunctions},
        unreadable={**before.unreadable, **now.unreadable},
    )


def has_network(node: Node) -> bool:
    """Whether there is a network function."""
    return any(one.network is not None for one in node.functions.values())


def _completed(before: PciFunction | None, now: PciFunction) -> PciFunction:
    if before is None:
        return now
    kept = before.vf_link_state if before.pf == now.pf else ""
    return msgspec.structs.replace(now, network=_routed(before, now.network), vf_link_state=kept)


def _routed(before: PciFunction | None, now: Network | None) -> Network | None:
    if now is None or before is None or before.network is None:
        return now
    routed = before.network.default_route and before.network.interfaces == now.interfaces
    return msgspec.structs.replace(now, default_route=routed)
