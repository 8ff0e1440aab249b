"""Reads a configuration file as a plain value: JSON, tolerant of common mistakes, or YAML.

The reference takes standard JSON only, and so refuses the sample in its own README (a trailing
comma). Here a trailing comma and a comment are accepted with a warning, and a file that does not
begin like JSON is read as YAML.
"""

import json
import re
from typing import Final

from rbln_supervisor.core.config.misplaced import text_origin
from rbln_supervisor.core.config.positions import (
    Document,
    DocumentError,
    merge_pairs,
    text_position,
)

_BOM: Final = b"\xef\xbb\xbf"
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_STRING: Final = r'"(?:[^"\\]++|\\.)*+"?'
_MISSING_ITEM: Final = r"[\[{:,][ \t\n\r]*+,"
_REMOVED: Final = {
    "comment": re.compile(rf"{_STRING}|(?P<removed>//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z))", re.DOTALL),
    "trailing comma": re.compile(
        rf"{_STRING}|{_MISSING_ITEM}|(?P<removed>,)(?=[ \t\n\r]*+[\]}}])", re.DOTALL
    ),
}
"""What strict JSON does not have, in the order of its removal. Kept are strings, and commas before
which an item is missing.
"""


def read_document(raw: bytes) -> Document:
    """Return the value of a JSON or YAML file.

    Raises:
        DocumentError: One line with line and column, and what is wrong there.
    """
    text = raw.removeprefix(_BOM).decode(errors="replace")
    if not text.strip():
        raise DocumentError("the file is empty: expected an object with resourceList")
    strict, warnings = _strict_json(text)
    try:
        if strict.lstrip().startswith(("{", "[")):
            value = _read_json(text, strict)
        else:
            # Most files are JSON: they should not cost the time and memory of the YAML reader.
            from rbln_supervisor.core.config.yaml_document import read_yaml  # noqa: PLC0415

            try:
                value, warnings = read_yaml(text), []
            except DocumentError as error:
                raise DocumentError(text_origin(text) or str(error)) from None
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise DocumentError("nested too deeply: expected an object with resourceList") from None
    except UnicodeEncodeError:
        raise DocumentError(r"expected whole characters, got half of one such as \ud83d") from None
    if _REPLACEMENT in text:
        position = text_position(text, text.index(_REPLACEMENT))
        warnings.append(f"{position}: expected UTF-8, other bytes are read as U+FFFD")
    return Document(value, tuple(warnings))


def _read_json(text: str, strict: str) -> object:
    try:
        # Python limits the digits of an integer, and no key needs one.
        return json.loads(strict, object_pairs_hook=merge_pairs, parse_int=float)
    except json.JSONDecodeError as error:
        raise DocumentError(f"{text_position(text, error.pos)}: no JSON: {error.msg}") from None


def _strict_json(text: str) -> tuple[str, list[str]]:
    """Return the text as strict JSON of the same length, and a warning for the first of a kind."""
    strict, warnings = text, []
    for kind, pattern in _REMOVED.items():
        first = next((found for found in pattern.finditer(strict) if found["removed"]), None)
        if first:
            warnings.append(f"{text_position(text, first.start())}: {kind} (accepted)")
            strict = pattern.sub(_blank_removed, strict)
    return strict, warnings


def _blank_removed(found: re.Match[str]) -> str:
    return " " * len(found[0]) if found["removed"] else found[0]
