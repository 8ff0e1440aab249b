"""Turns JSON with comments and trailing commas into JSON: it replaces them by spaces.

Every character keeps its place, so that line and column of a later error are right.
"""

import re
from typing import Final

from rbln_supervisor.core.config.positions import MAX_LINES, DocumentError, text_position

# No alternative can fail once it has begun (a missing end counts as the end of the line or file),
# so that no text makes this slow.
_TOKEN: Final = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"?)
      | (?P<comment>//[^\n]* | \#[^\n]* | /\*.*?(?:\*/|\Z))
      | (?P<comma>,)
      | (?P<close>[\]}])
      | (?P<constant>-?Infinity|NaN)""",
    re.VERBOSE | re.DOTALL,
)
_NOT_NEWLINE: Final = re.compile(r"[^\n]")


def relax_json(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text without comments and trailing commas, and a warning for each.

    Raises:
        DocumentError: A block comment has no end.
    """
    excess: list[tuple[int, int, str]] = []
    comma: int | None = None  # a comma after a value, followed only by space and comments
    before = ""  # the last character that is neither space nor comment
    done = 0
    for token in _TOKEN.finditer(text):
        if between := text[done : token.start()].strip():
            comma, before = None, between[-1]
        done = token.end()
        match token.lastgroup:
            case "comment":
                if token[0].startswith("/*") and not (len(token[0]) > 3 and token[0][-2:] == "*/"):
                    raise DocumentError(
                        f"{text_position(text, token.start())}: expected */ after /*"
                    )
                excess.append((token.start(), token.end(), "comment"))
                continue
            case "comma":
                comma = token.start() if before not in ("", ",", "[", "{", ":") else None
            case "close" if comma is not None:
                excess.append((comma, comma + 1, "trailing comma"))
                comma = None
            case _:
                comma = None
        before = token[0][-1]
    excess.sort()
    return _blank_excess(text, excess), _excess_warnings(text, excess)


def constant_at(text: str) -> int:
    """Return the place of the first NaN or Infinity outside of strings and comments; 0 if none."""
    places = (token.start() for token in _TOKEN.finditer(text) if token.lastgroup == "constant")
    return next(places, 0)


def _excess_warnings(text: str, excess: list[tuple[int, int, str]]) -> tuple[str, ...]:
    # Comments are intended: one line for all of them. A comma may be the trace of a lost line.
    commas = [start for start, _, what in excess if what == "trailing comma"]
    comments = [start for start, _, what in excess if what == "comment"]
    lines = [
        f"{text_position(text, start)}: trailing comma (accepted)" for start in commas[:MAX_LINES]
    ]
    lines += [f"and {len(commas) - MAX_LINES} more"] if len(commas) > MAX_LINES else []
    return (
        *lines,
        *(f"{text_position(text, start)}: comment (accepted)" for start in comments[:1]),
    )


def _blank_excess(text: str, excess: list[tuple[int, int, str]]) -> str:
    pieces, done = [], 0
    for start, end, _ in excess:
        pieces += [text[done:start], _NOT_NEWLINE.sub(" ", text[start:end])]
        done = end
    return "".join([*pieces, text[done:]])
