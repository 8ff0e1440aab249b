"""README's screens, from a run: somebody comes to a node on which several things are wrong."""

import os
import signal
from collections.abc import Mapping
from typing import Final

from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    VM,
    VM_POOL,
    allocatable,
    config,
    pool,
    pool_status,
    served,
)

CA25: Final = "rebellions.ai/CA25"
COMMANDS: Final = ("status --unhealthy", "doctor", "events -n 7")


def screens() -> Mapping[str, str]:
    """What each command prints.

    A pool matches nothing, an NPU is in FAULT, a worker was killed, and an NPU has lost its driver.
    """
    pools = config(ATOM_POOL, VM_POOL, pool("CA25", devices=["1250"]))
    with Stack(pools) as stack:
        served(stack, ATOM, VM)
        pool_status(stack, CA25, lambda seen: seen.state == "waiting", what="it matches nothing")
        stack.node.set_status("rbln1", 3)
        allocatable(stack, ATOM, 3)
        before = stack.workers()[ATOM]
        os.kill(before, signal.SIGKILL)
        pool_status(
            stack,
            ATOM,
            lambda seen: seen.state == "serving" and seen.worker.pid not in {None, before},
            what="it serves again",
        )
        allocatable(stack, ATOM, 3)
        stack.node.unbind(ATOMS[2])
        stack.ctl("rescan")
        allocatable(stack, ATOM, 2)
        pool_status(
            stack, ATOM, lambda seen: seen.devices[ATOMS[2]].source == "sysfs", what="it is told"
        )
        return {command: stack.ctl(*command.split()).stdout for command in COMMANDS}


def main() -> None:
    """Print them as README has them."""
    for command, page in screens().items():
        print(f"```\n$ rbln-ctl {command}\n{page.rstrip()}\n```\n")


if __name__ == "__main__":
    main()
