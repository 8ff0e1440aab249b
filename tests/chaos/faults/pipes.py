"""A FIFO in a file's place: whoever reads it waits, until all are let go."""

import os
from collections.abc import Callable

from tests.chaos.world import World


def hang(world: World, path: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """How to let reads of a file of the host hang, and how to end that."""
    place = world.node.tree.at(path)
    content = place.read_bytes()

    def undo() -> None:
        # Open for both, so that those are let go who wait in open(2) for a writer, too.
        pipe = os.open(place, os.O_RDWR | os.O_NONBLOCK)
        try:
            world.node.tree.write(path, content)
            os.write(pipe, content)
        finally:
            os.close(pipe)

    return (lambda: world.node.tree.fifo(path)), undo
