"""The contract of tests.sim.shape, which the simulated node keeps, asked of the real kernel."""

from pathlib import Path
from time import monotonic

import pytest

from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.vm.machine import VFS
from tests.sim import shape

pytestmark = pytest.mark.by_kernel

SMALL, PAGE = 256, 4096
"""Bytes of an NVMe controller's DMA pools' blocks."""


def test_functions_are_as_the_simulated_ones(
    pfs: tuple[str, str], accelerators: tuple[str, str], note: Note
) -> None:
    pf, without_vfs = pfs
    pci.set_vfs(pf, VFS)
    vfs = pci.vfs(pf)
    pci.bind(vfs[0], "vfio-pci")
    pci.bind(accelerators[0], "vfio-pci")
    pci.unbind(accelerators[1])
    began = monotonic()
    functions = (pf, without_vfs, *vfs, *accelerators)
    assert [line for bdf in functions for line in shape.complaints(Path("/"), bdf)] == []
    took = monotonic() - began
    assert names(pf) >= {*shape.UNIFORM, *shape.PF_FILES, "virtfn0", "driver", "iommu_group"}
    assert names(vfs[0]) >= {*shape.UNIFORM, "physfn", "driver", "iommu_group"}
    assert "driver" not in names(vfs[1])
    note(
        "files and links of PFs, VFs, vfio-pci, unbound",
        f"{len(functions)} functions as the simulated node has them",
        took,
    )


def test_dma_pools_are_listed_newest_first(pfs: tuple[str, str], note: Note) -> None:
    """What the rebellions driver's devices show in ``pools`` is the kernel's, not the driver's."""
    began = monotonic()
    header, *lines = (pci.DEVICES / pfs[0] / "pools").read_text().splitlines()
    took = monotonic() - began
    assert header == "poolinfo - 0.1"
    # drivers/nvme/host/pci.c makes the pool for pages first, then that for small lists; newer
    # kernels do so for each NUMA node that has a queue.
    sizes = [int(line.split()[-2]) for line in lines]
    assert lines
    assert sizes == [SMALL, PAGE] * (len(lines) // 2)
    note(
        "pools of an NVMe controller", "poolinfo - 0.1, then its DMA pools, the newest first", took
    )


def names(bdf: str) -> set[str]:
    """What a function's directory has."""
    return {path.name for path in (pci.DEVICES / bdf).iterdir()}
