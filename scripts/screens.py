"""README's screens, from a run: a node on which an NPU has lost its driver."""

from collections.abc import Mapping
from typing import Final

from tests.sim.node import SimNode
from tests.sim.nodes import npus
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOM_POOL, ATOMS, allocatable, config, pool_status, served

COMMANDS: Final = ("status --unhealthy", "doctor")


def screens() -> Mapping[str, str]:
    """Run each command on a node with four NPUs, one of them without a driver."""

    def build(node: SimNode) -> None:
        node.add(*npus(4, numa_nodes=2))

    with Stack(config(ATOM_POOL), build) as stack:
        served(stack, ATOM)
        stack.node.unbind(ATOMS[2])
        stack.ctl("rescan")
        allocatable(stack, ATOM, 3)
        pool_status(
            stack,
            ATOM,
            lambda seen: seen.devices[ATOMS[2]].source == "sysfs",
            what="the status reports the missing driver",
        )
        return {command: stack.ctl(*command.split()).stdout for command in COMMANDS}


def main() -> None:
    """Print the screens as README shows them."""
    for command, page in screens().items():
        print(f"```\n$ rbln-ctl {command}\n{page.rstrip()}\n```\n")


if __name__ == "__main__":
    main()
