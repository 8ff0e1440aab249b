"""ARCHITECTURE.md and CONTRIBUTING.md name functions and diagrams that the code has."""

from collections import Counter
from typing import Final

import pytest

from scripts import diagrams
from tests.unit.definitions import names
from tests.unit.pages import REPOSITORY, rows

ARCHITECTURE: Final = (REPOSITORY / "ARCHITECTURE.md").read_text()
QUESTIONS: Final = rows((REPOSITORY / "CONTRIBUTING.md").read_text(), "question")
STEPS: Final = rows(ARCHITECTURE, "#")


@pytest.mark.parametrize(
    ("path", "function"),
    [
        *((row.code("open"), row.code("function")) for row in QUESTIONS),
        *((row.code("file"), row.code("function")) for row in STEPS),
    ],
)
def test_documents_name_functions_of_their_files(path: str, function: str) -> None:
    assert function in names(path)


def test_each_question_needs_two_files_at_most() -> None:
    files: Counter[str] = Counter()
    question = ""
    for row in QUESTIONS:
        question = row.first or question
        files[question] += 1
    assert len(files) == 6
    assert max(files.values()) <= 2


def test_diagrams_are_those_of_the_tables() -> None:
    assert diagrams.written(ARCHITECTURE) == diagrams.blocks(), (
        "run .venv/bin/python -m scripts.diagrams --write"
    )


def test_a_changed_diagram_is_found() -> None:
    changed = ARCHITECTURE.replace("starting --> up: MessageReceived", "starting --> up: Needed")
    assert diagrams.written(changed) != diagrams.blocks()
