"""YAML as a plain value: the part of it that JSON also has.

Built from the parser's events, so that nothing is resolved implicitly: no aliases (a few lines of
them can stand for gigabytes), no tags, no numbers (``devices: [0010]`` is eight in YAML 1.1, and
``0000:35:00.0`` a number in base 60; here both stay as written). If a key needs a number, its
reader converts the text.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NoReturn

from rbln_supervisor.core.config.duplicate_keys import merge
from rbln_supervisor.core.config.durations import KEYS as NUMBER_KEYS
from rbln_supervisor.core.config.durations import PlainScalar
from rbln_supervisor.core.config.fields import fold
from rbln_supervisor.core.config.positions import DocumentError, bounded, found, kind, place, shown

if TYPE_CHECKING:
    import yaml

DEPTH_MOST: Final = 100
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
        return len(self.keys) > len(self.items) and fold(self.keys[-1]) in NUMBER_KEYS


def read(text: str) -> tuple[object, tuple[str, ...]]:
    """Return the value of the only document in a text, and warnings.

    Raises:
        DocumentError: One line with line and column, and what was expected there.
    """
    import yaml  # noqa: PLC0415 - most files are JSON; it saves a supervisor the memory

    if odd := _UNPRINTABLE.search(text):
        at = odd.start()
        raise DocumentError(f"{place(text, at)}: expected text, got {found(text, at)}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _build(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        raise DocumentError(_said(text, error.problem_mark, error.problem or str(error))) from None
    except yaml.YAMLError as error:
        raise DocumentError(_said(text, None, str(error))) from None


def _said(text: str, mark: "yaml.Mark | None", problem: str) -> str:
    """Return the parser's message on one line, except for a tab, which it describes badly."""
    said = f"no YAML: {' '.join(problem.split())}"
    if mark is None:
        return said
    begins = "".join(text.split("\n")[mark.line : mark.line + 1])[: mark.column + 1]
    if not begins.strip() and "\t" in begins:
        said = "expected spaces, got a tab (YAML is indented with spaces)"
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}"


def _build(events: "Iterable[yaml.Event]") -> tuple[object, tuple[str, ...]]:
    import yaml  # noqa: PLC0415 - see read

    resolver = yaml.resolver.Resolver()
    warnings: list[str] = []
    stack: list[_Open] = []
    root: list[object] = []
    for event in events:
        match event:
            case yaml.DocumentStartEvent() if root:
                _fail(event, "expected one document, got a second one")
            case yaml.NodeEvent(anchor=str()):
                _fail(event, "expected the value itself, got an anchor or alias (& or *)")
            case yaml.CollectionStartEvent():
                _check(event, depth=len(stack))
                is_mapping = isinstance(event, yaml.MappingStartEvent)
                stack.append(_Open(event, is_mapping=is_mapping))
            case yaml.CollectionEndEvent():
                ended = stack.pop()
                _put(stack[-1] if stack else root, ended.start, _collection(ended, warnings))
            case yaml.ScalarEvent():
                wants_number = bool(stack) and stack[-1].wants_number()
                odd: list[str] = []
                value = _scalar(event, resolver, odd)
                if wants_number and odd:
                    value = PlainScalar(value)
                else:
                    warnings += odd
                _put(stack[-1] if stack else root, event, value)
            case _:
                pass  # begin and end of the stream and of the document
    if not root:
        raise DocumentError("the file is empty: expected an object with resourceList")
    return root[0], bounded(warnings)


def _check(event: "yaml.CollectionStartEvent", *, depth: int) -> None:
    if event.tag is not None:
        _fail(event, f"expected a plain value, got {_tagged(event.tag)}")
    if depth >= DEPTH_MOST:
        _fail(event, f"expected at most {DEPTH_MOST} levels of nesting")


def _put(target: _Open | list[object], event: "yaml.Event", value: object) -> None:
    match target:
        case list():
            target.append(value)
        case _Open() if not target.wants_key():
            target.items.append(value)
        case _ if isinstance(value, str):
            target.keys.append(value)
        case _:
            _fail(event, f"expected string as key, got {kind(value)}")


def _collection(ended: _Open, warnings: list[str]) -> object:
    if not ended.is_mapping:
        return ended.items
    value, repeated = merge(zip(ended.keys, ended.items, strict=True))
    warnings += [
        f"{_place(ended.start)}: key {shown(key)} is repeated in this object (the last counts)"
        for key in repeated
    ]
    return value


def _scalar(
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
            warnings.append(f"{_place(event)}: a number or date is read as text (quote it)")
        case other:
            _fail(event, f"expected a plain value, got {_tagged(other)}")
    # "\ud800" in double quotes is half a character
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _tagged(tag: str) -> str:
    # Other tags are not repeated: "password: !secret" is a value that lost its quotes.
    known = tag.removeprefix(_TAG) in _TAGS
    return f"one with the tag {tag}" if known else "one with a tag of its own"


def _place(event: "yaml.Event") -> str:
    mark = event.start_mark
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"


def _fail(event: "yaml.Event", text: str) -> NoReturn:
    raise DocumentError(f"{_place(event)}: {text}")
