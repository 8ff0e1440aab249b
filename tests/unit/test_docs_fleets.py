"""docs/fleets.md reckons right: formulas, bytes of messages, and what a link can do at worst."""

import ast
import operator
import re
from collections.abc import Callable
from typing import Final

import pytest

from rbln_supervisor.core.config import health
from rbln_worker.contract.health import HealthPolicy
from rbln_worker.core.health.state_machine import probation_s
from scripts.bench_messages import length
from tests.unit.pages import Row, prose, rows, spans, text

PAGE: Final = text("fleets.md")

_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](value(left), value(right))
        case _:
            raise AssertionError(ast.dump(node))


def formulas() -> list[tuple[str, str]]:
    """Each formula with what the last cell of its row says."""
    found: list[tuple[str, str]] = []
    heads: list[str] = []
    for line in prose(PAGE).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            heads = []
        elif not heads:
            heads = cells
        elif "formula" in heads and not set(line) <= set("|-: "):
            (formula,) = spans(cells[heads.index("formula")])
            found.append((formula, cells[-1]))
    return found


FORMULAS: Final = formulas()


@pytest.mark.parametrize(("formula", "said"), FORMULAS)
def test_formulas(formula: str, said: str) -> None:
    number = said.split(maxsplit=1)[0].replace(",", "")
    _, _, decimals = number.partition(".")
    assert round(value(ast.parse(formula, mode="eval").body), len(decimals)) == float(number)


def test_there_are_formulas() -> None:
    assert len(FORMULAS) > 20


def test_series_are_those_of_the_metrics() -> None:
    """Which a test of the exporter counts."""
    found = re.search(
        r"\*\*Series of a node\.\*\* (\d+), plus (\d+) for each pool", text("metrics.md")
    )
    assert found is not None
    base, pool = found.groups()
    assert f"A node has {base} series, plus {pool} for each pool" in PAGE
    sums = [formula for formula, _ in FORMULAS if "+" in formula]
    assert sums
    assert all(f"{base} + {pool} * " in formula for formula in sums)


def test_bytes_of_messages() -> None:
    for row in rows(PAGE, "devices"):
        size = int(row.first)
        assert row.cells["NPUs or VFs, bytes"] == f"{length(size):,}"
        assert row.cells["sub-functions, bytes"] == f"{length(size, sub=True):,}"


def changes(within_s: float) -> int:
    """Of a list, where a link is bad again as soon as it is trusted."""
    policy = HealthPolicy().probation
    now, falls, seen = 0.0, 0, 0
    while now <= within_s:
        falls += 1
        now += probation_s(policy, falls)
        seen += 1 + (now <= within_s)
    return seen


def test_the_worst_link() -> None:
    table = rows(PAGE, "after it began to flap")
    for row in table:
        said = next(cell for head, cell in row.cells.items() if head.startswith("changes"))
        assert changes(float(row.first.split()[0])) == int(said)
    assert len(table) == 3


def setting(row: Row) -> list[str]:
    return [span.rpartition(".")[2] for span in spans(row.first)]


def test_settings_have_their_names() -> None:
    known = {*health.KEYS, *health.PROBATION_KEYS}
    assert {name for row in rows(PAGE, "setting") for name in setting(row)} <= known
