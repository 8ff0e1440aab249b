"""YAML as a plain value: the part of it that JSON also has.

Built from the parser's events, so that nothing is resolved implicitly: no aliases (a few lines of
them can stand for gigabytes), no tags, no numbers (``devices: [0010]`` is eight in YAML 1.1, and
``0000:35:00.0`` a number in base 60; here both stay as written). If a key needs a number, its
reader converts the text.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NoReturn

from rbln_supervisor.core.config.duplicate_keys import merge_pairs
from rbln_supervisor.core.config.durations import KEYS as NUMBER_KEYS
from rbln_supervisor.core.config.durations import PlainScalar
from rbln_supervisor.core.config.fields import fold_key
from rbln_supervisor.core.config.positions import (
    DocumentError,
    json_type,
    limit_lines,
    quote_value,
    text_excerpt,
    text_position,
)

if TYPE_CHECKING:
    import yaml

MAX_DEPTH: Final = 100
"""Maximum levels of nesting; a configuration has six."""

_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_TAG: Final = "tag:yaml.org,2002:"
_TAGS: Final = frozenset({"binary", "merge", "omap", "pairs", "set", "seq", "map"})


class _Open:
    """A collection without its end so far."""

    def __init__(self, start: "yaml.CollectionStartEvent", *, is_mapping: bool) -> None:
        self.start = start
        self.is_mapping = is_mapping
        self.items: list[object] = []
        self.keys: list[str] = []  # of a mapping; one more than items while a value is missing

    def wants_key(self) -> bool:
        return self.is_mapping and len(self.keys) == len(self.items)

    def wants_number(self) -> bool:
        return len(self.keys) > len(self.items) and fold_key(self.keys[-1]) in NUMBER_KEYS


def read_yaml(text: str) -> tuple[object, tuple[str, ...]]:
    """Return the value of the only document in a text, and warnings.

    Raises:
        DocumentError: One line with line and column, and what was expected there.
    """
    import yaml  # noqa: PLC0415 - most files are JSON; it saves a supervisor the memory

    if odd := _UNPRINTABLE.search(text):
        at = odd.start()
        raise DocumentError(
            f"{text_position(text, at)}: expected text, got {text_excerpt(text, at)}"
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _build_value(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        raise DocumentError(
            _parser_message(text, error.problem_mark, error.problem or str(error))
        ) from None
    except yaml.YAMLError as error:
        raise DocumentError(_parser_message(text, None, str(error))) from None


def _parser_message(text: str, mark: "yaml.Mark | None", problem: str) -> str:
    """Return the parser's message on one line, except for a tab, which it describes badly."""
    said = f"no YAML: {' '.join(problem.split())}"
    if mark is None:
        return said
    begins = "".join(text.split("\n")[mark.line : mark.line + 1])[: mark.column + 1]
    if not begins.strip() and "\t" in begins:
        said = "expected spaces, got a tab (YAML is indented with spaces)"
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}"


def _build_value(events: "Iterable[yaml.Event]") -> tuple[object, tuple[str, ...]]:
    import yaml  # noqa: PLC0415 - see read

    resolver = yaml.resolver.Resolver()
    warnings: list[str] = []
    stack: list[_Open] = []
    root: list[object] = []
    for event in events:
        match event:
            case yaml.DocumentStartEvent() if root:
                _raise_error(event, "expected one document, got a second one")
            case yaml.NodeEvent(anchor=str()):
                _raise_error(event, "expected the value itself, got an anchor or alias (& or *)")
            case yaml.CollectionStartEvent():
                _check_collection(event, depth=len(stack))
                is_mapping = isinstance(event, yaml.MappingStartEvent)
                stack.append(_Open(event, is_mapping=is_mapping))
            case yaml.CollectionEndEvent():
                ended = stack.pop()
                _put_value(
                    stack[-1] if stack else root, ended.start, _finish_collection(ended, warnings)
                )
            case yaml.ScalarEvent():
                wants_number = bool(stack) and stack[-1].wants_number()
                odd: list[str] = []
                value = _read_scalar(event, resolver, odd)
                if wants_number and odd:
                    value = PlainScalar(value)
                else:
                    warnings += odd
                _put_value(stack[-1] if stack else root, event, value)
            case _:
                pass  # begin and end of the stream and of the document
    if not root:
        raise DocumentError("the file is empty: expected an object with resourceList")
    return root[0], limit_lines(warnings)


def _check_collection(event: "yaml.CollectionStartEvent", *, depth: int) -> None:
    if event.tag is not None:
        _raise_error(event, f"expected a plain value, got {_describe_tag(event.tag)}")
    if depth >= MAX_DEPTH:
        _raise_error(event, f"expected at most {MAX_DEPTH} levels of nesting")


def _put_value(target: _Open | list[object], event: "yaml.Event", value: object) -> None:
    match target:
        case list():
            target.append(value)
        case _Open() if not target.wants_key():
            target.items.append(value)
        case _ if isinstance(value, str):
            target.keys.append(value)
        case _:
            _raise_error(event, f"expected string as key, got {json_type(value)}")


def _finish_collection(ended: _Open, warnings: list[str]) -> object:
    if not ended.is_mapping:
        return ended.items
    value, repeated = merge_pairs(zip(ended.keys, ended.items, strict=True))
    warnings += [
        f"{_event_position(ended.start)}: key {quote_value(key)} is repeated in this object "
        "(the last counts)"
        for key in repeated
    ]
    return value


def _read_scalar(
    event: "yaml.ScalarEvent", resolver: "yaml.resolver.Resolver", warnings: list[str]
) -> object:
    import yaml  # noqa: PLC0415 - see read

    value: str = event.value
    tag = event.tag
    if tag is None or tag == "!":
        tag = str(resolver.resolve(yaml.ScalarNode, value, event.implicit))  # type: ignore[no-untyped-call]
    match tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return yaml.constructor.SafeConstructor.bool_values[value.lower()]
        case "str":
            pass
        case "int" | "float" | "timestamp" | "value" if event.tag is None:
            warnings.append(
                f"{_event_position(event)}: a number or date is read as text (quote it)"
            )
        case other:
            _raise_error(event, f"expected a plain value, got {_describe_tag(other)}")
    # "\ud800" in double quotes is half a character
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _describe_tag(tag: str) -> str:
    # Other tags are not repeated: "password: !secret" is a value that lost its quotes.
    known = tag.removeprefix(_TAG) in _TAGS
    return f"one with the tag {tag}" if known else "one with a tag of its own"


def _event_position(event: "yaml.Event") -> str:
    mark = event.start_mark
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"


def _raise_error(event: "yaml.Event", text: str) -> NoReturn:
    raise DocumentError(f"{_event_position(event)}: {text}")
