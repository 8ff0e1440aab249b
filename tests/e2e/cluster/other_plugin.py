"""A small device plugin of another kind, for a container: serves one resource until SIGTERM.

Words: the resource, the folder of sockets (plugins_registry: it is found there; device-plugins: it
calls Register), and device IDs.
"""

import signal
import sys
from pathlib import Path

from tests.sim.tinyplugin import TinyPlugin


def main() -> None:
    resource, folder, *devices = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with TinyPlugin(Path(folder), resource, dict.fromkeys(devices, 0), endpoint="o.sock") as plugin:
        if Path(folder).name == "device-plugins":
            plugin.register(Path(folder) / "kubelet.sock")
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
