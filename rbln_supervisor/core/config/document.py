"""Reads a configuration file as a plain value: JSON, tolerant of common mistakes, or YAML.

The reference takes standard JSON only, and so refuses the sample in its own README (a trailing
comma). Here a trailing comma and a comment are accepted with a warning, and a file that does not
begin like JSON is read as YAML. Only input with a single meaning is accepted.
"""

import json
import re
from typing import Final, NamedTuple, NoReturn

from rbln_supervisor.core.config import misplaced, relaxed_json
from rbln_supervisor.core.config.duplicate_keys import merge_pairs
from rbln_supervisor.core.config.positions import (
    DocumentError,
    limit_lines,
    quote_value,
    text_excerpt,
    text_position,
)

_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_MAX_DIGITS: Final = 4000
"""Maximum length of an integer: Python refuses longer ones (and none of our keys is a number)."""

_BEFORE_DOCUMENT: Final = re.compile(r"(?:\s|#[^\n]*|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair, unchanged
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_EXPECTED: Final = {
    "Expecting property name enclosed in double quotes": "expected a key in double quotes",
    "Expecting ',' delimiter": "expected ',' or a closing bracket",
    "Expecting ':' delimiter": "expected ':' after the key",
    "Expecting value": "expected a value",
    "Extra data": "expected the end of the file after the document",
    "Unterminated string starting at": "expected a closing quote for the string that begins here",
    "Invalid control character at": "expected an escape such as \\n or \\t in a string",
}
"""By message of the standard library: a message that helps people."""


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
    text, warnings = _decode_text(raw)
    if not text.strip():
        raise DocumentError("the file is empty: expected an object with resourceList")
    try:
        value, more = _read_text(text)
    except RecursionError:
        raise DocumentError("nested too deeply: expected an object with resourceList") from None
    return Document(value, (*warnings, *more))


def _decode_text(raw: bytes) -> tuple[str, list[str]]:
    if raw.startswith(_UTF_16):
        raise DocumentError("line 1, column 1: expected UTF-8, got UTF-16")
    warnings = []
    if raw.startswith(_BOM):
        warnings.append("line 1, column 1: byte order mark (accepted)")
        raw = raw[len(_BOM) :]
    try:
        return raw.decode(), warnings
    except UnicodeDecodeError as error:
        text = raw.decode(errors="replace")
        at = len(raw[: error.start].decode(errors="replace"))
        warnings.append(
            f"{text_position(text, at)}: expected UTF-8, other bytes are read as U+FFFD"
        )
        return text, warnings


def _read_text(text: str) -> Document:
    """Read strict JSON, or else tolerant JSON or YAML, depending on the beginning."""
    tidy, warnings = _without_lone_surrogates(text)
    try:
        value, more = _load_json(tidy)
    except (json.JSONDecodeError, _NoNumberError):
        before = _BEFORE_DOCUMENT.match(text)
        if before is None or text[before.end() : before.end() + 1] not in ("{", "["):
            # Most files are JSON: they should not cost the time and memory of the YAML reader.
            from rbln_supervisor.core.config import yaml_document  # noqa: PLC0415

            try:
                return Document(*yaml_document.read_yaml(text))
            except DocumentError as error:
                raise DocumentError(misplaced.what_it_is(text) or str(error)) from None
    else:
        return Document(value, (*warnings, *more))
    tidy, relaxed = relaxed_json.relax_json(tidy)
    try:
        value, more = _load_json(tidy)
    except json.JSONDecodeError as error:
        _raise_error(text, error)
    except _NoNumberError as error:
        at = relaxed_json.constant_at(tidy)
        raise DocumentError(f"{text_position(text, at)}: expected a value, got {error}") from None
    return Document(value, (*warnings, *relaxed, *more))


class _NoNumberError(Exception):
    """NaN or Infinity, which Python's JSON accepts and the standard does not."""


def _load_json(text: str) -> Document:
    twice: list[str] = []

    def refuse_constant(word: str) -> NoReturn:
        raise _NoNumberError(word)

    def collect_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
        value, repeated = merge_pairs(pairs)
        twice.extend(f"key {quote_value(key)} is repeated (the last counts)" for key in repeated)
        return value

    value: object = json.loads(
        text,
        object_pairs_hook=collect_pairs,
        parse_constant=refuse_constant,
        parse_int=lambda digits: int(digits) if len(digits) < _MAX_DIGITS else float(digits),
    )
    return Document(value, limit_lines(twice))


def _without_lone_surrogates(text: str) -> tuple[str, tuple[str, ...]]:
    r"""Replace lone surrogates such as ``\ud800`` by U+FFFD, as the reference; keep the length."""
    places: list[int] = []

    def replace_surrogate(match: re.Match[str]) -> str:
        if match["lone"] is None:
            return match[0]
        places.append(match.start())
        return r"\ufffd"

    tidied = _ESCAPE.sub(replace_surrogate, text)
    warnings = [
        f"{text_position(text, at)}: half a surrogate pair, read as U+FFFD" for at in places[:1]
    ]
    return tidied, tuple(warnings)


def _raise_error(text: str, error: json.JSONDecodeError) -> NoReturn:
    expected = _EXPECTED.get(error.msg, error.msg[:1].lower() + error.msg[1:])
    got = (
        f", got {text_excerpt(text, error.pos)}"
        if error.msg.startswith(("Expecting", "Extra"))
        else ""
    )
    raise DocumentError(f"{text_position(text, error.pos)}: {expected}{got}") from None
