"""Reads a configuration file as a plain value: JSON, tolerant of common mistakes, or YAML.

The reference takes standard JSON only, and so refuses the sample in its own README (a trailing
comma). Here a trailing comma and a comment are accepted with a warning, and a file that does not
begin like JSON is read as YAML. Only input with a single meaning is accepted.
"""

from typing import Final, NamedTuple

from rbln_supervisor.core.config.json_document import JsonReader
from rbln_supervisor.core.config.misplaced import what_it_is
from rbln_supervisor.core.config.positions import DocumentError, Irregularities, text_position

_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


class Document(NamedTuple):
    """The content of a file."""

    value: object
    """None, bool, int, float, str, list and dict with str keys, as in JSON."""
    warnings: tuple[str, ...]
    """Accepted irregularities, one line each."""


def read_document(raw: bytes) -> Document:
    """Return the value of a JSON or YAML file.

    Raises:
        DocumentError: One line with line and column, and what was expected there.
    """
    notes = Irregularities()
    text = _decode_text(raw, notes)
    if not text.strip():
        raise DocumentError("the file is empty: expected an object with resourceList")
    try:
        value = _read_text(text, notes)
    except RecursionError:
        raise DocumentError("nested too deeply: expected an object with resourceList") from None
    return Document(value, notes.warnings())


def _read_text(text: str, notes: Irregularities) -> object:
    if JsonReader(text, Irregularities()).begins_well():
        return JsonReader(text, notes).read_document()
    # Most files are JSON: they should not cost the time and memory of the YAML reader.
    from rbln_supervisor.core.config.yaml_document import read_yaml  # noqa: PLC0415

    try:
        return read_yaml(text, notes)
    except DocumentError as error:
        raise DocumentError(what_it_is(text) or str(error)) from None


def _decode_text(raw: bytes, notes: Irregularities) -> str:
    if raw.startswith(_UTF_16):
        raise DocumentError("line 1, column 1: expected UTF-8, got UTF-16")
    if raw.startswith(_BOM):
        notes.add("byte order mark (accepted)", lambda: text_position("", 0))
        raw = raw[len(_BOM) :]
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        text, start = raw.decode(errors="replace"), error.start
        at = len(raw[:start].decode(errors="replace"))
        notes.add("expected UTF-8, other bytes are read as U+FFFD", lambda: text_position(text, at))
        return text
