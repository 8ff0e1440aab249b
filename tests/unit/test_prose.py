"""Documents and texts of the source are plain English; pages for newcomers are short."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from rbln_supervisor.exporter.catalog import catalog_table
from scripts.counts import modules
from tests.unit.pages import REPOSITORY, prose

PAGES: Final = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md")
    for path in REPOSITORY.glob(pattern)
    if not path.name.startswith(".")
)
GENERATED: Final = frozenset(
    {"cluster-1.34.md", "cluster-1.37.md", "image.md", "kernel.md", "kernel-newer.md"}
)
"""Tables of names of tests (scripts/e2e record): not prose."""

AVOIDED: Final = {
    r"\bbe had\b": "be available, be obtained",
    r"\bin(to)? force\b": "active, apply",
    r"\banew\b": "again, recreate",
    r"\bstands against\b": "the objection",
    r"\bspeaks? against\b": "is evidence against",
    r"\b(is|are) (told|said|heard|hearing)\b": "receives, is reported",
    r"\b[Ww]hoever\b": "a subject: the process that …",
    r"\bwho may\b": "a subject",
    r"\b(comes|came) of it\b": "the result",
    r"\bby itself\b": "automatically",
    r"\bby themselves\b": "automatically",
    r"\bon (its|their) way\b": "pending, running",
    r"\bat rest\b": "stable, idle",
    r"\bno news\b": "ignored",
    r"\bnobody else\b": "only",
    r"\blooked at\b": "checked, discovered, examined",
    r"\blooks? at the node\b": "discovery",
    r"\bwant(s|ed)? to be\b": "needs",
    r"\bturn(s|ed)? (it|them|a device|devices|\d+) away\b": "reject",
    r"\bgone out\b": "left",
    r"\bthe kubelet hears\b": "the kubelet gets, sees",
    r"\bmended\b": "fixed",
    r"\bmend\b": "fix",
}
"""Phrases that are not English here, and what to write."""


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def avoided(page: str) -> list[str]:
    """Return the phrases of a page that are to be avoided, with what to write."""
    return phrases(prose(page).replace(catalog_table(), ""))  # of metrics: the catalogue's


def phrases(text: str) -> list[str]:
    """Return the phrases of a text that are to be avoided, with what to write."""
    text = " ".join(re.sub(r"`[^`\n]*`", "``", text).split())
    return [
        f"{found[0]!r}: {instead}"
        for pattern, instead in AVOIDED.items()
        for found in re.finditer(pattern, text)
    ]


def source_phrases() -> Iterator[str]:
    """Yield the phrases to avoid in texts of the source, each with its place."""
    for path, text in modules():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for phrase in phrases(node.value):
                    yield f"{path}:{node.lineno}: {phrase}"


def test_texts_of_the_source_are_plain_english() -> None:
    assert list(source_phrases()) == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=name)
def test_pages_are_plain_english(page: Path) -> None:
    assert avoided(page.read_text()) == []


@pytest.mark.parametrize(
    ("page", "most"), [("README.md", 150), ("ARCHITECTURE.md", 250), ("CHANGELOG.md", 60)]
)
def test_pages_for_newcomers_are_short(page: str, most: int) -> None:
    assert len((REPOSITORY / page).read_text().splitlines()) <= most


def test_a_phrase_is_found_over_a_line_end_and_not_in_code() -> None:
    assert avoided("The worker is\ntold of it.")
    assert not avoided("`no device can be had`\n\n```\nis told\n```\n")
