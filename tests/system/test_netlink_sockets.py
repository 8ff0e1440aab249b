"""Sockets that hear the kernel, opened with few rights or none."""

import subprocess
import sys
from errno import EMFILE
from pathlib import Path
from typing import Final

import pytest

from tests.sim import network
from tests.sim.stack import REPOSITORY

pytestmark = pytest.mark.system

NO_RIGHTS: Final = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
OPENED: Final = """
import socket
from rbln_worker.host.netlink.{module} import {name}
opened = {name}()
assert opened.drain(1).items == ()
with socket.fromfd(opened.fileno(), socket.AF_NETLINK, socket.SOCK_RAW) as same:
    print(same.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
opened.close()
"""
LEFT_OUT: Final = """
import resource
from rbln_worker.host.netlink.{module} import {name}
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    {name}()
except OSError as error:
    print(error.errno)
"""
SOCKETS: Final = [("uevent", "UeventSocket"), ("link_events", "LinkSocket")]


def printed(script: str, *before: str) -> int:
    command = (*before, sys.executable, "-X", "dev", "-W", "error", "-c", script)
    done = subprocess.run(
        network.inside((), command), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


@pytest.mark.parametrize(("module", "name"), SOCKETS)
def test_without_rights_the_buffer_is_smaller(module: str, name: str) -> None:
    """The kernel doubles what is asked for (socket(7))."""
    most = int(Path("/proc/sys/net/core/rmem_max").read_text())
    size = printed(OPENED.format(module=module, name=name), *NO_RIGHTS)
    assert size == 2 * min(most, 8 * 1024 * 1024)


@pytest.mark.parametrize(("module", "name"), SOCKETS)
def test_one_that_can_not_be_opened_says_why(module: str, name: str) -> None:
    assert printed(LEFT_OUT.format(module=module, name=name)) == EMFILE
