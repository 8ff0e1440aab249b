"""YAML as a plain value: the part of it that JSON also has.

Built from the nodes of a document, so that nothing is converted that only looks like a number:
``devices: [0010]`` is eight in YAML 1.1, and ``0000:35:00.0`` a number in base 60. Both stay as
written; if a key needs a number, its reader converts the text. Aliases (a few lines of them can
stand for gigabytes) and tags are errors.
"""

import yaml

from rbln_supervisor.core.config.positions import (
    DocumentError,
    PlainScalar,
    json_type,
    merge_pairs,
    text_excerpt,
    text_position,
    whole_characters,
)

_BOOLEANS = yaml.constructor.SafeConstructor.bool_values


def read_yaml(text: str) -> object:
    """Return the value of the only document in a text.

    Raises:
        DocumentError: One line with line and column, and what was expected there.
        RecursionError: It is nested too deeply.
    """
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        raise DocumentError(_parser_message(text, error)) from None
    except yaml.reader.ReaderError as error:  # a character that YAML does not allow
        at = len(text.encode()[: error.position].decode(errors="replace"))
        raise DocumentError(
            f"{text_position(text, at)}: expected text, got {text_excerpt(text, at)}"
        ) from None
    if root is None:
        raise DocumentError("the file is empty: expected an object with resourceList")
    return _NodeReader().read_value(root)


def _parser_message(text: str, error: yaml.MarkedYAMLError) -> str:
    """Return the parser's message on one line, except for a tab, which it describes badly."""
    said = f"no YAML: {' '.join(str(error.problem or error).split())}"
    mark = error.problem_mark
    if mark is None:
        return said
    begins = "".join(text.split("\n")[mark.line : mark.line + 1])[: mark.column + 1]
    if not begins.strip() and "\t" in begins:
        said = "expected spaces, got a tab (YAML is indented with spaces)"
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}"


class _NodeReader:
    """Converts the nodes of one document."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def read_value(self, node: yaml.Node) -> object:
        if id(node) in self._seen:
            raise _error(node, "expected the value itself each time, got an alias (*) of this one")
        self._seen.add(id(node))
        match node, node.tag.removeprefix("tag:yaml.org,2002:"):
            case yaml.MappingNode(value=members), "map":
                return merge_pairs(
                    (self._read_key(key), self.read_value(value)) for key, value in members
                )
            case yaml.SequenceNode(value=items), "seq":
                return [self.read_value(item) for item in items]
            case yaml.ScalarNode(), "null":
                return None
            case yaml.ScalarNode(value=word), "bool" if word.lower() in _BOOLEANS:
                return _BOOLEANS[word.lower()]
            case yaml.ScalarNode(value=text), "str":
                return whole_characters(text)
            case yaml.ScalarNode(value=text), "int" | "float" | "timestamp" | "value":
                return PlainScalar(text)
            case _:
                # Its tag is not repeated: "password: !secret" is a value that lost its quotes.
                raise _error(node, "expected a plain value, got one with a tag")

    def _read_key(self, node: yaml.Node) -> str:
        key = self.read_value(node)
        if not isinstance(key, str):
            raise _error(node, f"expected string as key, got {json_type(key)}")
        return str(key)


def _error(node: yaml.Node, text: str) -> DocumentError:
    mark = node.start_mark
    return DocumentError(f"line {mark.line + 1}, column {mark.column + 1}: {text}")
