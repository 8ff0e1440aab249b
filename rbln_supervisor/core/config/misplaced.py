"""Recognizes texts that contain a configuration but are none, for a helpful error."""

import re
from collections import deque
from typing import Final

from rbln_supervisor.core.config.fields import fold_key, member_place

KEY: Final = "resourcelist"
MAX_VALUES: Final = 1000
"""Maximum number of values that are searched for the list of pools."""

_DESCRIBED: Final = re.compile(r"\s*Name:[^\n]*\n(?:[^\n]*\n)*?Namespace:[^\n]*\n")
_TABLE: Final = re.compile(r"\s*NAME +(?:DATA|READY) +[A-Z]")
_KEY_FIRST: Final = re.compile(r"""\s*"?[A-Za-z]\w*"\s*:""")
_KUBECTL: Final = (
    "expected the file: kubectl get configmap NAME -o jsonpath='{.data.config\\.json}'"
)


def what_it_is(text: str) -> str:
    """Return what created a text that is neither JSON nor YAML; empty if that is not known."""
    if _DESCRIBED.match(text):
        return f"line 1, column 1: text of kubectl describe, {_KUBECTL}"
    if _TABLE.match(text):
        return f"line 1, column 1: a table of kubectl get, {_KUBECTL}"
    if _KEY_FIRST.match(text) and text.rstrip().endswith("}"):
        return "line 1, column 1: JSON that does not begin with '{': expected '{' before the key"
    return ""


def find_pool_list(value: object) -> str:
    """Return the place of the list of pools, if it is not at the top; empty if there is none."""
    kind = ""
    if isinstance(value, dict) and "apiVersion" in value and isinstance(value.get("kind"), str):
        kind = f"a manifest of kind {value['kind'][:40]!r}: "
    pending: deque[tuple[str, object]] = deque([("", value)])
    for _ in range(MAX_VALUES):
        if not pending:
            break
        place, one = pending.popleft()
        match one:
            case dict():
                keys = [str(key) for key in one]
                if any(fold_key(key) == KEY for key in keys):
                    return (
                        f" ({kind}it is in {place}: expected what stands there, and nothing else)"
                    )
                pending += [(member_place(place, str(key)), inner) for key, inner in one.items()]
            case list():
                pending += [(f"{place}[{index}]", inner) for index, inner in enumerate(one)]
            case str() if KEY in fold_key(one):
                return f" ({kind}{place} holds it as text: expected that text, and nothing else)"
            case _:
                pass
    return f" ({kind.removesuffix(': ')})" if kind else ""
