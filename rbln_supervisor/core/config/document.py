"""Reads a configuration file as a plain value: JSON, tolerant of common mistakes, or YAML.

The reference takes standard JSON only, and so refuses the sample in its own README (a trailing
comma). Here a trailing comma and a comment are accepted with a warning, and a file that does not
begin like JSON is read as YAML. Only input with a single meaning is accepted.
"""

from typing import Final

from rbln_supervisor.core.config.json_document import begins_as_json, read_json
from rbln_supervisor.core.config.misplaced import what_it_is
from rbln_supervisor.core.config.positions import Document, DocumentError, place_lines

_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


def read_document(raw: bytes) -> Document:
    """Return the value of a JSON or YAML file.

    Raises:
        DocumentError: One line with line and column, and what was expected there.
    """
    text, warnings = _decode_text(raw)
    if not text.strip():
        raise DocumentError("the file is empty: expected an object with resourceList")
    try:
        value, more = _read_text(text)
    except RecursionError:
        raise DocumentError("nested too deeply: expected an object with resourceList") from None
    return Document(value, (*warnings, *more))


def _read_text(text: str) -> Document:
    if begins_as_json(text):
        return read_json(text)
    # Most files are JSON: they should not cost the time and memory of the YAML reader.
    from rbln_supervisor.core.config.yaml_document import read_yaml  # noqa: PLC0415

    try:
        return Document(read_yaml(text))
    except DocumentError as error:
        raise DocumentError(what_it_is(text) or str(error)) from None


def _decode_text(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the text, and its irregularities."""
    if raw.startswith(_UTF_16):
        raise DocumentError("line 1, column 1: expected UTF-8, got UTF-16")
    rest = raw.removeprefix(_BOM)
    mark = place_lines("", [0] if rest != raw else [], "byte order mark (accepted)")
    try:
        return rest.decode(), mark
    except UnicodeDecodeError as error:
        text = rest.decode(errors="replace")
        at = len(rest[: error.start].decode(errors="replace"))
        kind = "expected UTF-8, other bytes are read as U+FFFD"
        return text, (*mark, *place_lines(text, [at], kind))
