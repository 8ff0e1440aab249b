"""For how many threads of gRPC a worker makes sure of room, on machines of other sizes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.stack import REPOSITORY

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has another number of cores"),
]

SERVES = """
import asyncio, os, sys
from pathlib import Path
from rbln_worker.kubelet.endpoint import Endpoint, max_grpc_threads

async def main():
    before = len(os.listdir("/proc/self/task"))
    endpoint = await Endpoint.open(Path(sys.argv[1]), ())
    print(os.cpu_count(), max_grpc_threads(), len(os.listdir("/proc/self/task")) - before)
    await endpoint.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("cores", [1, 2, 8, 64, 256])
def test_there_is_room_for_what_grpc_begins(tmp_path: Path, cores: int) -> None:
    online = tmp_path / "online"
    online.write_text(f"0-{cores - 1}\n" if cores > 1 else "0\n")
    script = f'mount --bind {online} /sys/devices/system/cpu/online && exec "$@"'
    done = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", script, "sh"),
            *(sys.executable, "-c", SERVES, tmp_path / "s.sock"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seen, reckoned, begun = map(int, done.stdout.split())
    assert seen == cores
    assert reckoned - 1 <= begun <= reckoned
