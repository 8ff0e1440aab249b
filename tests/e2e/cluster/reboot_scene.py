"""A node with pods that have NPUs, and what a reboot may do to its cards."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from rbln_supervisor.core.status import DeviceStatus
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.plugin import Plugin
from tests.e2e.cluster.pods import Container, ExistingPod, given
from tests.sim import uevents
from tests.system.scene import ATOM, ATOMS, TWO_POOLS, VM

Change = Callable[[HostNode, str, str], None]
"""What another order of cards does to a node: the card of the bare pod, a card that is free."""

_numbers: Final = count()


class Case(NamedTuple):
    """A reboot of a node with the plugin's unit."""

    what: str
    change: Change | None = None
    cdi: bool = False
    clean: bool = False
    """A shutdown and no power cut."""
    busy: bool = False
    """Beside as many busy loops as there are processors."""
    late: bool = False
    """The driver is loaded after the plugin has started."""

    @property
    def name(self) -> str:
        """Of the test."""
        return f"{self.what}{', CDI' * self.cdi}{', busy' * self.busy}"


def free_card_dead(node: HostNode, mine: str, free: str) -> None:
    """A card that no pod has is gone."""
    node.remove(free)
    number_in_order(node)


def own_card_dead(node: HostNode, mine: str, free: str) -> None:
    """The bare pod's card is gone."""
    node.remove(mine)
    number_in_order(node)


def swapped(node: HostNode, mine: str, free: str) -> None:
    """The bare pod's card and one that is free have each other's number."""
    pairs = ((mine, free), (free, mine))
    node.renumber({bdf: str(node.devices[other].rbln) for bdf, other in pairs})


def number_in_order(node: HostNode) -> None:
    """The driver counts the cards that it finds."""
    there = [bdf for bdf in ATOMS if bdf in node.devices]
    node.renumber({bdf: f"rbln{number}" for number, bdf in enumerate(there)})


CASES: Final = (
    Case("a power cut"),
    Case("a shutdown", clean=True, busy=True),
    Case("a power cut", cdi=True, busy=True),
    Case("the driver is late", late=True),
    Case("the driver is late", late=True, cdi=True, busy=True),
    Case("a free card is dead", free_card_dead),
    Case("a free card is dead", free_card_dead, cdi=True, clean=True),
    Case("its card is dead", own_card_dead, busy=True),
    Case("its card and a free one are swapped", swapped, busy=True),
    Case("its card and a free one are swapped", swapped, cdi=True),
)
BY_RELEASE: Final = frozenset({0, 8, 9})
"""Cases that every release has to show."""


class Scene:
    """Two pods that have an NPU each, a bare one and a Deployment's, and a card that is free."""

    def __init__(self, bench: Bench, node: HostNode) -> None:
        self._node = node
        with bench.pod({ATOM: 1}) as first:
            # The free card is the first one, so that all others are counted anew without it.
            (self.free,) = given(first.running(), ATOM)
            self.bare = bench.pod({ATOM: 1}, restarts=True)
            self.bare.running()
            self.deployment = bench.deployment({ATOM: 1})
            self.replica = self.deployment.pod()
            self.replica.running()
        # The kubelet forgets what ended pods had with its next allocation.
        bench.pod({VM: 1}).running()
        self.pods: tuple[ExistingPod, ...] = (self.bare, self.replica)
        self.uids = [pod.uid for pod in self.pods]
        self.containers = [pod.running() for pod in self.pods]
        self.devices = [given(container, ATOM)[0] for container in self.containers]
        self.paths = [node.path(device) for device in self.devices]
        """The nodes that they were given."""

    def may_start(self, index: int, *, cdi: bool) -> bool:
        """True where a pod's container may start again.

        Its device has to be there. Without CDI the container is given its former node, which has
        to be that device's still, and the device's node may not be what another pod was given.
        """
        device = self.devices[index]
        if device not in self._node.devices:
            return False
        path = self._node.path(device)
        others = [each for number, each in enumerate(self.paths) if number != index]
        return cdi or (path == self.paths[index] and path not in others)

    def restarted(self) -> list[Container | None]:
        """The containers that run again in place; None for each pod that the kubelet refused."""
        pairs = zip(self.pods, self.containers, strict=True)
        return [pod.restarted_or_refused(former) for pod, former in pairs]


def npus_of(container: Container, node: HostNode) -> set[str]:
    """The NPUs that a container can reach: those behind its nodes now."""
    paths = {path for path in container.devices() if path.startswith("/dev/rbln")}
    found = {bdf for bdf in ATOMS if bdf in node.devices and node.path(bdf) in paths}
    assert len(found) == len(paths), f"{paths} are not all of NPUs"
    return found


@contextmanager
def unit(cluster: Cluster, node: HostNode, home: Path, *flags: str) -> Iterator[Plugin]:
    """The plugin on the host, with both pools listed."""
    place = home / f"unit{next(_numbers)}"
    with Plugin(place, node.root, TWO_POOLS, "kubelet-sock", cluster.traces, *flags) as plugin:
        plugin.serves(ATOM, VM)
        yield plugin


def load_driver(node: HostNode) -> None:
    """Bind the driver to the NPUs, with the events that the kernel sends."""
    frames = []
    for bdf in ATOMS:
        node.bind(bdf, "rebellions")
        frames.append(uevents.pci("bind", bdf, DRIVER="rebellions"))
    uevents.inject(os.getpid(), frames)


def start_unit(plugin: Plugin, node: HostNode, *, late: bool) -> Mapping[str, DeviceStatus]:
    """Start the plugin as systemd does before the kubelet; the NPUs as it has them then.

    ``late``: NPUs have no driver at first, as where its module is loaded late.
    """
    if late:
        for bdf in ATOMS:
            node.unbind(bdf)
    plugin.start_as_unit(late=(lambda: load_driver(node)) if late else None)
    return plugin.status().pools[ATOM].devices
