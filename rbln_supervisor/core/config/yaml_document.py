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
)

_BOOLEANS = yaml.constructor.SafeConstructor.bool_values


def read_yaml(text: str) -> object:
    """Return the value of the only document in a text.

    Raises:
        DocumentError: One line with line and column, and what is wrong there.
        RecursionError: It is nested too deeply.
    """
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        raise _error(error.problem_mark, f"no YAML: {error.problem}") from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise DocumentError(f"no YAML: {' '.join(str(error).split())}") from None
    if root is None:
        raise DocumentError("the file is empty: expected an object with resourceList")
    return _read_node(root, set())


def _read_node(node: yaml.Node, seen: set[int]) -> object:
    """Return a node's value; ``seen`` has the identity of each node that was read before."""
    if id(node) in seen:
        mark = node.start_mark
        raise _error(mark, "expected the value itself each time, got an alias (*) of this one")
    seen.add(id(node))
    match node, node.tag.removeprefix("tag:yaml.org,2002:"):
        case yaml.MappingNode(value=members), "map":
            return merge_pairs(
                (_read_key(key, seen), _read_node(one, seen)) for key, one in members
            )
        case yaml.SequenceNode(value=items), "seq":
            return [_read_node(item, seen) for item in items]
        case yaml.ScalarNode(), "null":
            return None
        case yaml.ScalarNode(value=word), "bool" if word.lower() in _BOOLEANS:
            return _BOOLEANS[word.lower()]
        case yaml.ScalarNode(value=text), "str":
            return text
        case yaml.ScalarNode(value=text), "int" | "float" | "timestamp" | "value":
            return PlainScalar(text)
        case _:
            # Its tag is not repeated: "password: !secret" is a value that lost its quotes.
            raise _error(node.start_mark, "expected a plain value, got one with a tag")


def _read_key(node: yaml.Node, seen: set[int]) -> str:
    key = _read_node(node, seen)
    if not isinstance(key, str):
        raise _error(node.start_mark, f"expected string as key, got {json_type(key)}")
    return str(key)


def _error(mark: yaml.Mark | None, text: str) -> DocumentError:
    return DocumentError(
        f"line {mark.line + 1}, column {mark.column + 1}: {text}" if mark else text
    )
