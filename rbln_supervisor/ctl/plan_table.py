"""The effect of a configuration on this node, planned or done: pools, and devices that move."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rbln_supervisor.core.matching.explain import match_notes
from rbln_supervisor.core.matching.plan import Change, Plan, PoolPlan
from rbln_supervisor.ctl.rendering import build_table, fixed_column, number_column
from rbln_supervisor.ctl.text import plain
from rbln_worker.contract.problem import count_text

_STYLES: Final[dict[Change, str]] = {
    "added": "green",
    "changed": "yellow",
    "unchanged": "dim",
    "removed": "red",
}


def plan_page(plan: Plan, columns: int) -> RenderableType:
    """Return a plan, or what was done, for a page of this width."""
    stay = f"{count_text(plan.stay, 'device')} in the same pool as before"
    ending = f", {len(plan.moves)} in another one:" if plan.moves else ", none in another one"
    parts: list[RenderableType] = [Text(), _pool_table(plan, columns), Text(), Text(stay + ending)]
    if plan.moves:
        parts.append(_move_table(plan, columns))
    return Group(*parts)


def _pool_table(plan: Plan, columns: int) -> Table:
    heads = ("RESOURCE", fixed_column("CHANGE"), number_column("DEVICES"), "NOTE")
    rows = (
        (
            Text(plain(name), "bold"),
            Text(pool.change, _STYLES[pool.change]),
            str(len(pool.devices)),
            "" if pool.change == "removed" else "; ".join(_match_notes(pool)),
        )
        for name, pool in plan.pools.items()
    )
    return build_table(columns, heads, rows)


def _match_notes(pool: PoolPlan) -> Iterator[str]:
    """Yield results of matching for the devices of its type that the pool does not get."""
    if pool.new_export:
        yield f"export changes: {pool.new_export}"
    if not pool.counts:
        yield "the node has no device of its type"
    yield from match_notes(pool.counts)


def _move_table(plan: Plan, columns: int) -> Table:
    none = Text("-", "dim")
    rows = ((move.device, move.before or none, move.after or none) for move in plan.moves)
    return build_table(columns, ("DEVICE", "FROM", "TO"), rows)
