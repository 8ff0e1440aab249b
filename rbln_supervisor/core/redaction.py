"""Texts without secrets, for people who may not have them.

What a secret is can't be known, so more is removed than has to be: every value of a configuration's
``additionalInfo`` (only containers are meant to have it), every value whose name says that it is a
secret, and what looks like a credential wherever it stands. Values that were found in the
configuration are removed from all other texts, too.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from rbln_supervisor.core.configuration import document
from rbln_supervisor.core.configuration.places import DocumentError
from rbln_supervisor.core.configuration.selectors import ATTRIBUTES
from rbln_supervisor.core.configuration.shape import fold

HIDDEN: Final = "(removed)"
SECRET_LEAST: Final = 6
"""Characters. Shorter values are removed where they stand, but not looked for elsewhere: half of
every text would go with a value such as ``1``."""

_INFO: Final = fold("additionalInfo")
_NAME: Final = (
    r"(?:pass(?:word|wd|phrase)|(?<![a-z])pass(?![a-z])|pwd|secret|token|credentials?|api[-_.]?key|access[-_.]?key"
    r"|private[-_.]?key|client[-_.]?key|authorization|cookie)"
)
_NAMED: Final = re.compile(_NAME, re.IGNORECASE)
_PATTERNS: Final[tuple[re.Pattern[str], ...]] = (
    re.compile(
        r"(?s)(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z))"
    ),
    re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@\"']*:(?P<secret>[^/\s@\"']+)@", re.IGNORECASE),
    re.compile(r"\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9+/._~=-]{8,})", re.IGNORECASE),
    re.compile(r"\b(?P<secret>eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)"),
    re.compile(r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    re.compile(
        r"\b(?P<secret>(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-)[A-Za-z0-9_-]{10,})"
    ),
    re.compile(
        rf"{_NAME}[\w.-]*[\"']?\s*[=:]\s*(?:\"(?P<secret>(?:[^\"\\]|\\.)+)\"|'(?P<other>[^']+)'"
        r"|(?P<bare>[^\s,;}\]\"']+))",
        re.IGNORECASE,
    ),
    re.compile(rf"--?[\w-]*{_NAME}[\w-]*[ =\0](?P<secret>[^\s\0]+)", re.IGNORECASE),
)
_TOKEN: Final = re.compile(r"[^\s\"',:{}\[\]]{6,}|\"(?:[^\"\\]|\\.){6,}\"")
_OURS: Final = frozenset({"resourceName", "resourcePrefix", "deviceType", *ATTRIBUTES})


class Redacted(NamedTuple):
    """A text, and how much was removed from it."""

    text: str
    removed: int


def secrets(raw: bytes) -> frozenset[str]:
    """The values of a configuration that may not be seen elsewhere.

    Of a file that is no document all that could be such a value is one.
    """
    try:
        value = document.read(raw).value
    except DocumentError:
        return frozenset(_suspects(raw.decode(errors="replace")))
    return frozenset(one for one in _values(value, hidden=False) if len(one) >= SECRET_LEAST)


def configuration(raw: bytes, known: Iterable[str] = ()) -> Redacted | None:
    """A configuration without secrets, as JSON; None where it is no document.

    Comments are not in it.
    """
    try:
        value = document.read(raw).value
    except DocumentError:
        return None
    hidden, removed = _hide(value, hidden=False)
    rest = redact(json.dumps(hidden, indent=2, ensure_ascii=False), known)
    return Redacted(rest.text, removed + rest.removed)


def redact(text: str, known: Iterable[str] = ()) -> Redacted:
    """A text without what looks like a credential, and without these secrets."""
    removed = 0
    for secret in sorted(known, key=len, reverse=True):
        for spelled in dict.fromkeys((secret, *_spellings(secret))):
            removed += text.count(spelled)
            text = text.replace(spelled, HIDDEN)
    for pattern in _PATTERNS:
        text, count = _without(pattern, text)
        removed += count
    return Redacted(text, removed)


def _without(pattern: re.Pattern[str], text: str) -> Redacted:
    """A text without what a pattern calls a secret; what is removed already stays so."""
    pieces, removed, at = [], 0, 0
    for match in pattern.finditer(text):
        group = next(name for name in pattern.groupindex if match[name] is not None)
        start, end = match.span(group)
        if match[group] not in HIDDEN:
            pieces += [text[at:start], HIDDEN]
            removed, at = removed + 1, end
    return Redacted("".join((*pieces, text[at:])), removed)


def _spellings(secret: str) -> Iterator[str]:
    """How a text may stand in JSON, in a repr, or in a log line."""
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]


def _hide(value: object, *, hidden: bool) -> tuple[object, int]:
    match value:
        case dict():
            whole: dict[str, object] = {}
            count = 0
            for key, one in value.items():
                whole[key], more = _hide(one, hidden=hidden or _is_secret(str(key)))
                count += more
            return whole, count
        case list():
            pairs = [_hide(one, hidden=hidden) for one in value]
            return [one for one, _ in pairs], sum(more for _, more in pairs)
        case None | bool():
            return value, 0
        case _:
            return (HIDDEN, 1) if hidden else (value, 0)


def _values(value: object, *, hidden: bool) -> Iterator[str]:
    match value:
        case dict():
            for key, one in value.items():
                yield from _values(one, hidden=hidden or _is_secret(str(key)))
        case list():
            for one in value:
                yield from _values(one, hidden=hidden)
        case None | bool():
            return
        case _:
            if hidden:
                yield str(value)


def _is_secret(key: str) -> bool:
    return fold(key) == _INFO or _NAMED.search(key) is not None


def _suspects(text: str) -> Iterator[str]:
    found = re.search("additionalInfo", text, re.IGNORECASE)
    for match in _TOKEN.finditer(text, found.end() if found else len(text)):
        token = match[0].strip('"')
        if token not in _OURS:
            yield token
