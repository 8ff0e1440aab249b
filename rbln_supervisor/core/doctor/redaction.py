"""Removes secrets from texts, for readers without a right to them.

Secrets cannot be recognized for certain, so more is removed than necessary: every value of a
configuration's ``additionalInfo`` (it is meant for containers only), every value with a name of a
secret, and what looks like a credential anywhere. Values that were found in the configuration are
removed from all other texts, too.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from rbln_supervisor.core.config import document
from rbln_supervisor.core.config.fields import fold_key
from rbln_supervisor.core.config.positions import DocumentError
from rbln_supervisor.core.config.selectors import ATTRIBUTES
from rbln_supervisor.core.doctor.secrets import Secrets

HIDDEN: Final = "(removed)"
NONE: Final = Secrets()

_INFO: Final = fold_key("additionalInfo")
_NAME: Final = (
    r"(?:pass(?:word|wd|phrase)|(?<![a-z])pass(?![a-z])|pwd|secret|token|credentials?|api[-_.]?key|access[-_.]?key"
    r"|private[-_.]?key|client[-_.]?key|authorization|cookie)"
)
_NAMED: Final = re.compile(_NAME, re.IGNORECASE)
# A file may be a line of 256 KiB with any content. So no pattern reads the same run of characters
# from each of its positions: runs are possessive and have a beginning, or are bounded.
_PATTERNS: Final[tuple[re.Pattern[str], ...]] = (
    re.compile(
        r"(?s)(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z))"
    ),
    re.compile(r"(?<=[a-z0-9+.-])://[^/\s:@\"']*:(?P<secret>[^/\s@\"']+)@", re.IGNORECASE),
    re.compile(r"\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9+/._~=-]{8,})", re.IGNORECASE),
    re.compile(
        r"\b(?P<secret>eyJ[A-Za-z0-9_-]{5,8192}+\.[A-Za-z0-9_-]{1,65536}+\.[A-Za-z0-9_-]*+)"
    ),
    re.compile(r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    re.compile(
        r"\b(?P<secret>(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-)[A-Za-z0-9_-]{10,})"
    ),
)
_KEY: Final = re.compile(r"(?<![\w.-])[\w.-]++(?=\\*[\"']?\s*[=:])")
_VALUE: Final = re.compile(
    r"\\*[\"']?\s*[=:]\s*"
    r"(?:\"(?P<secret>(?:[^\"\\]|\\.)++)|'(?P<other>[^']++)"
    # in a text that is itself a string of JSON
    r"|(?P<quote>\\++[\"'])(?P<quoted>(?:(?!(?<!\\)(?P=quote)).)++)"
    r"|(?P<bare>[^\s,;}\]\"']++))"
)
_OPTION: Final = re.compile(r"(?<![\w-])(?P<option>[\w-]++)[ =\0](?P<secret>[^\s\0]++)")
_TOKEN: Final = re.compile(r"[^\s\"',:{}\[\]]{6,}|\"(?:[^\"\\]|\\.){6,}+\"?")
_OURS: Final = frozenset({"resourceName", "resourcePrefix", "deviceType", *ATTRIBUTES})


class Redacted(NamedTuple):
    """A text, and the number of removals."""

    text: str
    removed: int


def find_secrets(raw: bytes) -> Secrets:
    """Return the values of a configuration that have to be removed from other texts.

    If the file is no document, all tokens that could be such a value count.
    """
    try:
        value = document.read_document(raw).value
    except DocumentError:
        return Secrets(_suspicious_tokens(raw.decode(errors="replace")))
    return Secrets(_leaf_values(value, hidden=False))


def redact_configuration(raw: bytes, known: Secrets = NONE) -> Redacted | None:
    """Return a configuration without secrets and comments, as JSON; None if it is no document."""
    try:
        value = document.read_document(raw).value
    except DocumentError:
        return None
    # Each text separately: a removal from the whole could cut a string, and leave invalid JSON.
    hidden, removed = _hide_values(value, known, hidden=False)
    return Redacted(json.dumps(hidden, indent=2, ensure_ascii=False), removed)


def redact(text: str, known: Secrets = NONE) -> Redacted:
    """Return a text without these secrets, and without what looks like a credential."""
    text, removed = _remove_spans(known.find_spans(text), text)
    for pattern in _PATTERNS:
        text, count = _remove_spans((one.span("secret") for one in pattern.finditer(text)), text)
        removed += count
    for find in (_named_secrets, _option_secrets):
        text, count = _remove_spans(find(text), text)
        removed += count
    return Redacted(text, removed)


def _named_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of values behind a name of a secret."""
    done = 0
    for key in _KEY.finditer(text):
        if key.start() < done or not _NAMED.search(text, key.start(), key.end()):
            continue
        if value := _VALUE.match(text, key.end()):
            groups = ("secret", "other", "quoted", "bare")
            yield next(value.span(name) for name in groups if value[name] is not None)
            done = value.end()


def _option_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of words behind options with such a name."""
    at = 0
    while match := _OPTION.search(text, at):
        start, end = match.span("option")
        dash = text.find("-", start, end)
        if dash >= 0 and _NAMED.search(text, dash, end):
            yield match.span("secret")
            at = match.end()
        else:
            at = match.start("secret")  # it may be an option itself


def _remove_spans(spans: Iterable[tuple[int, int]], text: str) -> Redacted:
    """Return a text without these parts; earlier removals are kept."""
    pieces, removed, at = [], 0, 0
    for start, end in spans:
        if text[start:end] not in HIDDEN:
            pieces += [text[at:start], HIDDEN]
            removed, at = removed + 1, end
    return Redacted("".join((*pieces, text[at:])), removed)


def _hide_values(value: object, known: Secrets, *, hidden: bool) -> tuple[object, int]:
    match value:
        case dict():
            whole: dict[str, object] = {}
            count = 0
            for key, one in value.items():
                name = redact(str(key), known)
                secret = hidden or _is_secret(str(key))
                whole[name.text], more = _hide_values(one, known, hidden=secret)
                count += name.removed + more
            return whole, count
        case list():
            pairs = [_hide_values(one, known, hidden=hidden) for one in value]
            return [one for one, _ in pairs], sum(more for _, more in pairs)
        case None | bool():
            return value, 0
        case str() if not hidden:
            return redact(value, known)
        case _:
            return (HIDDEN, 1) if hidden or str(value) in known.values else (value, 0)


def _leaf_values(value: object, *, hidden: bool) -> Iterator[str]:
    match value:
        case dict():
            for key, one in value.items():
                yield from _leaf_values(one, hidden=hidden or _is_secret(str(key)))
        case list():
            for one in value:
                yield from _leaf_values(one, hidden=hidden)
        case None | bool():
            return
        case _:
            if hidden:
                yield str(value)


def _is_secret(key: str) -> bool:
    return fold_key(key) == _INFO or _NAMED.search(key) is not None


def _suspicious_tokens(text: str) -> Iterator[str]:
    found = re.search("additionalInfo", text, re.IGNORECASE)
    for match in _TOKEN.finditer(text, found.end() if found else len(text)):
        token = match[0].strip('"')
        if token not in _OURS:
            yield token
