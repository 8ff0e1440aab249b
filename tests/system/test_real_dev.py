"""A node whose /dev is a real one, as its null device says: what is given out has to be, too."""

import os
import stat
from pathlib import Path

import grpc
import pytest

from rbln_supervisor.workers.exit_record import is_name
from tests.sim.node import SimNode
from tests.sim.nodes import npus
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOM_POOL, allocatable, config, details_of, pool_status

pytestmark = pytest.mark.system


def device(path: Path) -> None:
    """A character device in the place of a file, as the kernel would make it."""
    aside = path.with_name("new")
    os.mknod(aside, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    aside.replace(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_only_character_devices_are_given_out(tmp_path: Path) -> None:
    def build(node: SimNode) -> None:
        node.add(*npus(4))
        for name in ("null", "rbln0", "rbln1", "rsd0"):
            device(node.root / "dev" / name)
        (node.root / "dev/rbln3").unlink()
        (node.root / "dev/rbln3").symlink_to("/etc/passwd")
        (node.root / "etc/passwd").touch()

    try:
        device(tmp_path / "null")
    except PermissionError:
        pytest.skip("no CAP_MKNOD")
    with Stack(config(ATOM_POOL), build) as stack:
        allocatable(stack, ATOM, 2)
        ids = sorted(stack.kubelet.resource(ATOM).devices)
        reasons = {
            ids[2]: "/dev/rbln2 is a file, no character device",
            ids[3]: "/dev/rbln3 is a link that leads out of /dev",
        }
        seen = pool_status(
            stack,
            ATOM,
            lambda seen: all(seen.devices[one].reason == why for one, why in reasons.items()),
            what="why the others are not",
        )
        assert {seen.devices[one].source for one in reasons} == {"node"}
        for one, why in reasons.items():
            with pytest.raises(grpc.RpcError) as caught:
                stack.kubelet.allocate(ATOM, [[one]])
            assert details_of(caught.value).endswith(why)
        device(stack.root / "dev/rbln2")
        (stack.root / "dev/rbln3").unlink()
        (stack.root / "dev/rbln3").symlink_to("rbln2")
        allocatable(stack, ATOM, 4)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x.sock", "/etc/x.sock", "a/b", "a\0b", "/", "x.sock/"]
)
def test_a_worker_names_no_file_outside_of_its_folder(name: str) -> None:
    """Its supervisor removes the socket of one that was killed, by this name."""
    assert not is_name(name)
    assert is_name("rebellions.ai_ATOM-0123456789abcdef.sock")
