"""What something adds to a node, as a value: files, links, nodes below /dev."""

from collections.abc import Mapping

import msgspec


class Parts(msgspec.Struct, frozen=True):
    """Files of a device's directory, links, and device nodes."""

    files: Mapping[str, str] = {}
    """Path of the host → content; all below the device's directory."""
    links: Mapping[str, str] = {}
    """Path of the host → path of the host."""
    nodes: frozenset[str] = frozenset()
    """Names below /dev."""


def joined(*parts: Parts) -> Parts:
    """All of these."""
    return Parts(
        files={path: text for part in parts for path, text in part.files.items()},
        links={path: target for part in parts for path, target in part.links.items()},
        nodes=frozenset[str]().union(*(part.nodes for part in parts)),
    )
