"""JSON as a plain value, also with comments and trailing commas.

The standard library's reader knows neither. They become spaces first, so that all other positions
stay as they are in the file.
"""

import json
import re
from typing import Final

from rbln_supervisor.core.config.positions import (
    Document,
    DocumentError,
    merge_pairs,
    place_lines,
    text_excerpt,
    text_position,
)

_GAP: Final = r"(?:[ \t\n\r]|//[^\n]*+|#[^\n]*+|(?>/\*.*?\*/))*+"
"""White space and comments."""
_START: Final = re.compile(_GAP + r"(?:[{[]|/\*)", re.DOTALL)
_PIECE: Final = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.)*+"?)'
    r"|(?P<comment>//[^\n]*|#[^\n]*|/\*.*?\*/)"
    r"|(?P<open_comment>/\*.*)"
    rf"|(?P<comma>,)(?={_GAP}[\]}}])"
    r"|(?P<constant>NaN|-?Infinity)",
    re.DOTALL,
)
"""The pieces of a text that may have to be changed, and those in which nothing is."""
_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\.",
    re.DOTALL,
)
"""An escape in a string, or a pair of them; ``half``: half a surrogate pair."""
_MAX_DIGITS: Final = 4000
"""Maximum length of an integer: Python refuses longer ones (and none of our keys needs one)."""
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=merge_pairs,
    parse_int=lambda digits: int(digits) if len(digits) < _MAX_DIGITS else float(digits),
)
_EXPECTED: Final = {
    "Expecting value": "expected a value",
    "Expecting property name enclosed in double quotes": "expected a key in double quotes",
    "Expecting ':' delimiter": "expected ':' after the key",
    "Expecting ',' delimiter": "expected ',' or a closing bracket",
    "Extra data": "expected the end of the file after the document",
}
_NO_STRING: Final = {
    "Unterminated string starting at": "expected a closing quote for the string that begins here",
    "Invalid control character at": "expected an escape such as \\n or \\t in a string",
}
"""By message of the standard library: a message that helps people."""


def begins_as_json(text: str) -> bool:
    """Return True if the text begins like an object or array, perhaps after comments."""
    return _START.match(text) is not None


def read_json(text: str) -> Document:
    """Return the value of a text.

    Raises:
        DocumentError: One line with line and column, and what was expected there.
        RecursionError: It is nested too deeply.
    """
    strict, warnings = _strict_json(text)
    try:
        return Document(_DECODER.decode(strict), warnings)
    except json.JSONDecodeError as error:
        raise DocumentError(f"{text_position(text, error.pos)}: {_explain(text, error)}") from None


def _explain(text: str, error: json.JSONDecodeError) -> str:
    if text.startswith("/*", error.pos):
        return "expected */ after /*"
    if expected := _EXPECTED.get(error.msg):
        return f"{expected}, got {text_excerpt(text, error.pos)}"
    return _NO_STRING.get(error.msg, f"expected a string, got {error.msg.lower()}")


def _strict_json(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text as strict JSON of the same length, and a warning for each change."""
    comments, commas, halves = list[int](), list[int](), list[int]()
    pieces = list[str]()
    end, before = 0, ""  # the last character that is neither space nor comment
    for found in _PIECE.finditer(text):
        between, piece, start = text[end : found.start()], found[0], found.start()
        before = between.rstrip()[-1:] or before
        match found.lastgroup:
            case "string":
                before = '"'
                whole = _ESCAPE.sub(lambda one: r"\ufffd" if one["half"] else one[0], piece)
                if whole != piece:
                    halves.append(start)
                piece = whole
            case "comment":
                comments.append(start)
                piece = " " * len(piece)
            case "comma" if before not in "{[,:":
                commas.append(start)
                piece = " "
            case "constant":  # the standard has no such values
                piece = "?" * len(piece)
            case _:
                pass
        pieces += (between, piece)
        end = found.end()
    warnings = (
        *place_lines(text, comments[:1], "comment (accepted)"),  # the others are intended as well
        *place_lines(text, commas, "trailing comma (accepted)"),
        *place_lines(text, halves[:1], "half a surrogate pair, read as U+FFFD"),
    )
    return "".join((*pieces, text[end:])), warnings
