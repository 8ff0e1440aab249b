"""The whole system on a simulated node: what tests and the demo start."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.sim.kubelet import SimKubelet
from tests.sim.node import SimNode
from tests.sim.nodes import Link, demo
from tests.sim.system import REPOSITORY, System

__all__ = ["REPOSITORY", "Stack"]  # whoever starts a stack needs no other module for it


class Stack(System):
    """A simulated node, and the system on it."""

    def __init__(
        self,
        config: object,
        build: Callable[[SimNode], None] = demo,
        *,
        arguments: Sequence[str] = (),
        registration: str = "auto",
        kubelet: Callable[[Path], SimKubelet] = SimKubelet,
        late_kubelet: bool = False,
        watch_config: bool = False,
        links: Mapping[str, Link] | None = None,
    ) -> None:
        """A node is built by ``build``; the rest is System's."""
        home = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
        super().__init__(
            config,
            home / "n",
            home,
            arguments=arguments,
            registration=registration,
            kubelet=kubelet,
            late_kubelet=late_kubelet,
            watch_config=watch_config,
            links=links,
        )
        self.node = SimNode(self.root)
        build(self.node)
