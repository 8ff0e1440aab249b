"""The contract of tests.sim.shape, which the simulated node keeps, asked of the real kernel."""

from pathlib import Path
from time import monotonic

from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.vm.machine import VFS
from tests.sim import shape


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


def names(bdf: str) -> set[str]:
    """What a function's directory has."""
    return {path.name for path in (pci.DEVICES / bdf).iterdir()}
