"""docs/migrate.md on a simulated node: the reference leaves while ours serves the same resource.

The reference is found by the plugin watcher, under a socket name that is always the same; ours
calls Register. What is in between is the kubelet's, and differs by version.
"""

from pathlib import Path
from typing import Final

import pytest

from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_book import Keeping
from tests.sim.kubelet_records import Closed
from tests.sim.stack import Stack
from tests.sim.tinyplugin import TinyPlugin
from tests.system.scene import ATOM, ATOMS, TWO_POOLS, VM, allocatable, served

pytestmark = pytest.mark.system

SOCKET: Final = "rebellions.ai_ATOM.sock"
RELEASES: Final = {"1.37": Keeping.PER_SOCKET, "1.34": Keeping.PER_NAME}


def lists_ours(kubelet: SimKubelet) -> bool:
    endpoint = kubelet.resource(ATOM).endpoint
    listed = {record.endpoint for record in kubelet.messages(ATOM)}
    return endpoint != SOCKET and endpoint in listed


@pytest.mark.parametrize("release", RELEASES)
def test_the_reference_leaves_while_ours_serves(release: str) -> None:
    def kubelet(folder: Path) -> SimKubelet:
        return SimKubelet(folder, plugin_watcher=True, keeping=RELEASES[release])

    with Stack(TWO_POOLS, registration="kubelet-sock", kubelet=kubelet) as stack:
        served(stack)
        assert stack.stop().code == 0
        devices = {device: n // 2 for n, device in enumerate(ATOMS)}
        with TinyPlugin(stack.kubelet.registry, ATOM, devices, endpoint=SOCKET) as reference:
            stack.kubelet.wait(
                lambda k: k.resource(ATOM).endpoint == SOCKET, 10, what="the reference is asked"
            )
            stack.start()
            served(stack, VM)
            stack.kubelet.wait(lists_ours, 10, what="ours is asked, and has a stream")
            assert stack.kubelet.resource(ATOM).devices.keys() == devices.keys()
            assert reference.streams == 1, "the reference knows nothing of it"
        # Ours before, the reference, ours; and before 1.37 ours again, because the end of a stream
        # and a socket that leaves plugins_registry end whoever has the resource's name.
        stays = release == "1.37"

        def lives(kubelet: SimKubelet) -> int:
            return sum(one.resource == ATOM for one in kubelet.openings)

        stack.kubelet.wait(
            lambda k: (
                any(isinstance(r, Closed) and r.endpoint == SOCKET for r in k.records)
                and (stays or lives(k) > 3)
                and k.resource(ATOM).allocatable == len(ATOMS)
            ),
            10,
            what="the reference's stream has ended, and ours is asked",
        )
        stack.node.set_status("rbln0", 3)  # seen with the next look: later than what else may come
        allocatable(stack, ATOM, len(ATOMS) - 1)
        assert stack.kubelet.allocate(ATOM, [ATOMS[1:]]).container_responses
        assert stays == (lives(stack.kubelet) == 3)
