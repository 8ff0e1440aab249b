"""The tree of errors: drawn in one place, and complete."""

import ast
import re
from typing import Final

from rbln_worker.contract import errors
from tests.unit.pages import REPOSITORY

_FOREIGN: Final = re.compile("(Error|Exception|Warning)$")


def error_classes() -> dict[str, set[str]]:
    """Return the bases of each public class that is an error, by its name."""
    found = {}
    for package in ("rbln_supervisor", "rbln_worker"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    bases = {ast.unparse(base) for base in node.bases}
                    if any(map(_FOREIGN.search, bases)):
                        found[node.name] = bases
    return found


def test_every_error_is_in_the_drawn_tree() -> None:
    drawn = re.findall("[├└]─ ([A-Za-z]+)", errors.__doc__ or "")
    classes = error_classes()
    del classes["RblnError"]
    assert sorted(drawn) == sorted(classes)
    assert all(bases & {"RblnError", *classes} for bases in classes.values())
