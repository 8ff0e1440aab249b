"""JSON as a plain value, also with comments and trailing commas.

The standard library's reader stops at a comment, and has no positions. This one reads the text once
and notes each irregularity that it accepts, with its position.
"""

import json
import re
from collections.abc import Callable
from typing import Final, NoReturn

from rbln_supervisor.core.config.duplicate_keys import merge_pairs, repeated_key
from rbln_supervisor.core.config.positions import (
    DocumentError,
    Irregularities,
    text_excerpt,
    text_position,
    whole_characters,
)

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_COMMENT: Final = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?(?P<end>\*/|\Z)", re.DOTALL)
_MAX_DIGITS: Final = 4000
"""Maximum length of an integer: Python refuses longer ones (and none of our keys needs one)."""
_NO_STRING: Final = {
    "Unterminated string starting at": "expected a closing quote for the string that begins here",
    "Invalid control character at": "expected an escape such as \\n or \\t in a string",
}
"""By message of the standard library: a message that helps people."""


def _refuse_constant(word: str) -> NoReturn:
    raise json.JSONDecodeError("Expecting value", word, 0)


_SCALARS: Final = json.JSONDecoder(
    parse_constant=_refuse_constant,  # NaN and Infinity, which the standard does not have
    parse_int=lambda digits: int(digits) if len(digits) < _MAX_DIGITS else float(digits),
)


class JsonReader:
    """Reads the value of a text, of which it is at one character."""

    def __init__(self, text: str, notes: Irregularities) -> None:
        self._text = text
        self._at = 0
        self._notes = notes

    def begins_well(self) -> bool:
        """Return True if the text begins like an object or array, perhaps after comments."""
        return self._skip_space() in {"{", "["}

    def read_document(self) -> object:
        """Return the value of the whole text.

        Raises:
            DocumentError: One line with line and column, and what was expected there.
            RecursionError: It is nested too deeply.
        """
        value = self._read_value()
        if self._skip_space():
            self._raise_error("expected the end of the file after the document")
        return value

    def _raise_error(self, expected: str) -> NoReturn:
        got = text_excerpt(self._text, self._at)
        raise DocumentError(f"{text_position(self._text, self._at)}: {expected}, got {got}")

    def _note(self, kind: str, at: int, *, once: bool = False) -> None:
        self._notes.add(kind, lambda: text_position(self._text, at), once=once)

    def _skip_space(self) -> str:
        """Skip white space and comments; return the next character, or an empty text at the end."""
        while True:
            if space := _SPACE.match(self._text, self._at):
                self._at = space.end()
            following = self._text[self._at : self._at + 1]
            comment = _COMMENT.match(self._text, self._at) if following in {"/", "#"} else None
            if comment is None:
                return following
            if comment["end"] == "":
                raise DocumentError(f"{text_position(self._text, self._at)}: expected */ after /*")
            self._note("comment (accepted)", self._at, once=True)  # comments are intended
            self._at = comment.end()

    def _read_value(self) -> object:
        match self._skip_space():
            case "{":
                begin, pairs = self._at, list[tuple[str, object]]()
                self._read_items("}", lambda: pairs.append(self._read_member()))
                merged, repeated = merge_pairs(pairs)
                for key in repeated:
                    self._note(repeated_key(key), begin)
                return merged
            case "[":
                values = list[object]()
                self._read_items("]", lambda: values.append(self._read_value()))
                return values
            case _:
                return self._read_scalar()

    def _read_items(self, close: str, read_item: Callable[[], None]) -> None:
        """Read from the opening bracket to the closing one."""
        self._at += 1
        while self._skip_space() != close:
            read_item()
            following, comma = self._skip_space(), self._at
            if following == ",":
                self._at += 1
                if self._skip_space() == close:
                    self._note("trailing comma (accepted)", comma)
            elif following != close:
                self._raise_error("expected ',' or a closing bracket")
        self._at += 1

    def _read_member(self) -> tuple[str, object]:
        if self._skip_space() != '"':
            self._raise_error("expected a key in double quotes")
        key = str(self._read_scalar())
        if self._skip_space() != ":":
            self._raise_error("expected ':' after the key")
        self._at += 1
        return key, self._read_value()

    def _read_scalar(self) -> object:
        begin = self._at
        try:
            value, self._at = _SCALARS.raw_decode(self._text, begin)
        except json.JSONDecodeError as error:
            if error.msg == "Expecting value":
                self._raise_error("expected a value")
            expected = _NO_STRING.get(error.msg, f"expected a string, got {error.msg.lower()}")
            raise DocumentError(f"{text_position(self._text, error.pos)}: {expected}") from None
        if not isinstance(value, str):
            return value
        whole = whole_characters(value)
        if whole != value:
            self._note("half a surrogate pair, read as U+FFFD", begin, once=True)
        return whole
