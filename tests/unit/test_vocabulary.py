"""Names in the source are field terms: words that only this project used stay gone.

What the words were replaced by: the glossary in ARCHITECTURE.md.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

import pytest

from scripts.counts import modules

GONE: Final = frozenset(
    {
        *("anew", "asker", "births", "buried", "bury", "chronicle", "conclusion", "conversation"),
        *("diary", "examiner", "feed", "forgive", "glance", "hear", "holds", "inquiry", "keeper"),
        *("knock", "lookout", "meet", "moments", "noticed", "nudge", "obituary", "opinion"),
        *("paper", "pulse", "question", "scout", "spoke", "stands", "stranger", "telling"),
        *("turned", "turns", "weigh"),
    }
)
"""No part of a name is one of these."""

RARE: Final = {
    "answer": 57,
    "asked": 34,
    "found": 115,
    "held": 49,
    "looked": 9,
    "looks": 4,
    "most": 17,
    "needs": 15,
    "roster": 16,
    "said": 24,
    "told": 24,
    "wanted": 41,
    "why": 57,
    "word": 23,
    "words": 24,
}
"""Parts of names that say nothing, and how many names have each. A number is lowered when there
are fewer, and never raised."""

SHARED: Final = frozenset({"Entry", "Exit", "Folder", "LinkTable", "_Handler"})
"""Class names that two modules have."""


def names(tree: ast.AST) -> Iterator[str]:
    """Yield what a module defines: functions, classes, parameters, variables and attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case _:
                pass


def parts(name: str) -> list[str]:
    """Return the words of a name."""
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]


@pytest.fixture(scope="module")
def used() -> Counter[str]:
    """How many names have each part."""
    return Counter(
        part for _, text in modules() for name in names(ast.parse(text)) for part in parts(name)
    )


def test_no_name_has_a_word_that_is_gone(used: Counter[str]) -> None:
    assert used["health"] > 10
    assert used.keys() & GONE == set()


@pytest.mark.parametrize("part", RARE)
def test_words_that_say_nothing_become_rarer(used: Counter[str], part: str) -> None:
    assert used[part] <= RARE[part]


def test_a_class_name_belongs_to_one_module() -> None:
    owners = defaultdict(set)
    for path, text in modules():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                owners[node.name].add(path)
    assert {name for name, paths in owners.items() if len(paths) > 1} <= SHARED


@pytest.mark.parametrize(
    ("name", "words"),
    [("LinkTable", ["link", "table"]), ("_MAX_TEXT", ["max", "text"])],
)
def test_a_name_is_split_into_words(name: str, words: list[str]) -> None:
    assert parts(name) == words
