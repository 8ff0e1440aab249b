"""Names that a module defines, read from its syntax tree."""

import ast
from functools import cache

from tests.unit.pages import REPOSITORY


@cache
def names(path: str) -> frozenset[str]:
    """Return functions, classes, methods and constants of a file, methods with their class."""
    found = set[str]()
    for node in ast.parse((REPOSITORY / path).read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                methods = {
                    one.name
                    for one in body
                    if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
                }
                found |= {name, *methods, *(f"{name}.{one}" for one in methods)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case _:
                pass
    return frozenset(found)
