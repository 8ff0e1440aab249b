"""Recognizes texts that hold a configuration but are none, for a helpful error."""

import re
from typing import Final

from rbln_supervisor.core.config.fields import member_place
from rbln_supervisor.core.config.positions import quote_value

_KEY: Final = "resourcelist"
_DESCRIBED: Final = re.compile(r"\s*Name:[^\n]*\n(?:[^\n]*\n)*?Namespace:[^\n]*\n")
_KEY_FIRST: Final = re.compile(r"""\s*"?[A-Za-z]\w*"\s*:""")
_KUBECTL: Final = "kubectl get configmap NAME -o jsonpath='{.data.config\\.json}'"


def text_origin(text: str) -> str:
    """Return what a text is that is neither JSON nor YAML; empty if that is not known."""
    if _DESCRIBED.match(text):
        return f"line 1, column 1: text of kubectl describe, expected the file: {_KUBECTL}"
    if _KEY_FIRST.match(text) and text.rstrip().endswith("}"):
        return "line 1, column 1: JSON that does not begin with '{': expected '{' before the key"
    return ""


def manifest_hint(value: object) -> str:
    """Return where a manifest holds the file, in parentheses; empty for any other document."""
    match value:
        case {"apiVersion": str(), "kind": str() as kind, **rest}:
            data = rest.get("data")
            entries = data.items() if isinstance(data, dict) else ()
            found = [str(name) for name, text in entries if _KEY in str(text).lower()]
            where = (
                f": expected the text of {member_place('data', found[0])} alone" if found else ""
            )
            return f" (a manifest of kind {quote_value(kind)}{where})"
        case _:
            return ""
