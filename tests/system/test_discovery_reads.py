"""A look at the node reads each file once, and what belongs to a PF once for all its functions."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.sim.device import Rdma, SimDevice, Subfunction
from tests.sim.node import SimNode
from tests.sim.stack import REPOSITORY

pytestmark = pytest.mark.system

# An audit hook can't be taken away again, and so it is set in a process of its own.
SCRIPT = """
import os, sys
from pathlib import Path
from rbln_worker.host.discovery import network
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node

root = sys.argv[1]
def note(event, arguments):
    if event in ("open", "os.listdir") and str(arguments[0]).startswith(root):
        print(os.path.relpath(arguments[0], root))
sys.addaudithook(note)
found = scan_node(Path(root), Needs(frozenset({0x02, 0x12}), acpi_indexes=True, subfunctions=True))
print(len(found.node.functions), file=sys.stderr)
"""
PF = SimDevice(
    *("0000:5e:00.0", "15b3", "101d", "020000", "mlx5_core"),
    net=("p0",),
    totalvfs=64,
    acpi_index=3,
    sfs=(Subfunction("mlx5_core.sf.4", 88, ("en3f0s88",), Rdma("mlx5_4", 4)),),
)


def reads(root: Path, vfs: int) -> Counter[str]:
    node = SimNode(root)
    node.add(PF, msgspec.structs.replace(PF, bdf="0000:20:00.0", code="120000", net=(), sfs=()))
    node.enable_vfs(PF.bdf, vfs, driver="mlx5_core")
    node.enable_vfs("0000:20:00.0", vfs, driver="vfio-pci")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(root)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stderr) == 2 * (vfs + 1)
    return Counter(done.stdout.split("\n"))


def test_each_file_is_read_once_and_their_number_grows_with_the_functions(tmp_path: Path) -> None:
    few, many = reads(tmp_path / "few", 8), reads(tmp_path / "many", 32)
    for counted in (few, many):
        assert {path: times for path, times in counted.items() if times > 1} == {}
    assert few.total() < many.total() <= 4 * few.total()
    assert many.total() <= 3 * 2 * 33 + 20
