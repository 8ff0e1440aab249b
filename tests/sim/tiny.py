"""TinyPlugin as a program: NPUs of the machine's own /sys, for the machine's own kubelet.

``python -m tests.sim.tiny CONFIG``. It knows pools of PCI addresses, follows a kubelet that
restarts by looking every now and then, and takes no other notice of anything: a plugin to measure
against where there is no real one.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from tests.sim.files import identity
from tests.sim.tinyplugin import TinyPlugin

FOLDER: Final = Path("/var/lib/kubelet/device-plugins")
PCI: Final = Path("/sys/bus/pci/devices")
ACCELERATORS: Final = "0x12"
AGAIN_S: Final = 0.2


class Selectors(msgspec.Struct, rename="camel"):
    pci_addresses: list[str]


class Pool(msgspec.Struct, rename="camel"):
    resource_name: str
    resource_prefix: str
    selectors: Selectors


class Config(msgspec.Struct, rename="camel"):
    resource_list: list[Pool]


def main(argv: Sequence[str]) -> None:
    """Until a signal."""
    config = msgspec.json.decode(Path(argv[0]).read_bytes(), type=Config)
    socket = FOLDER / "kubelet.sock"
    while True:
        with ExitStack() as stack:
            served = identity(socket)
            for pool in config.resource_list:
                name = f"{pool.resource_prefix}/{pool.resource_name}"
                plugin = TinyPlugin(
                    FOLDER,
                    name,
                    {bdf: numa(bdf) for bdf in pool.selectors.pci_addresses if is_npu(bdf)},
                    endpoint=f"{pool.resource_name}.sock",
                )
                stack.enter_context(plugin).register(socket)
            while identity(socket) == served:
                time.sleep(AGAIN_S)


def is_npu(bdf: str) -> bool:
    return (PCI / bdf / "class").read_text().startswith(ACCELERATORS)


def numa(bdf: str) -> int | None:
    node = int((PCI / bdf / "numa_node").read_text())
    return node if node >= 0 else None


if __name__ == "__main__":
    main(sys.argv[1:])
