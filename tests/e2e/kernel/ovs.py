"""Open vSwitch: Debian's database and switch, on the kernel's datapath, for a test."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.e2e.kernel import pci, programs

SCHEMA: Final = "share/openvswitch/vswitch.ovsschema"
DEADLINE_S: Final = 60


class OpenVSwitch:
    """ovsdb-server and ovs-vswitchd, from ``with`` to the end of the block."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is empty; its path is short, because a socket is in it."""
        self._folder = folder
        self._database = folder / "db.sock"
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        server, environment = programs.found("ovsdb-server")
        schema = Path(server).parents[1] / SCHEMA
        self._environment = {
            **environment,
            **{f"OVS_{name}DIR": f"{self._folder}" for name in ("RUN", "LOG", "DB", "SYSCONF")},
            "OVS_PKGDATADIR": f"{schema.parent}",
        }
        database = self._folder / "conf.db"
        self._run("ovsdb-tool", "create", f"{database}", f"{schema}")
        self._start("ovsdb-server", f"{database}", f"--remote=punix:{self._database}")
        pci.until(self._database.is_socket, what="ovsdb-server listens")
        self.vsctl("--no-wait", "init")
        self._start("ovs-vswitchd", f"unix:{self._database}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait(DEADLINE_S)

    def vsctl(self, *words: str) -> None:
        """Run ovs-vsctl, which waits until the switch has done it."""
        self._run("ovs-vsctl", f"--db=unix:{self._database}", f"--timeout={DEADLINE_S}", *words)

    def _run(self, name: str, *words: str) -> None:
        program, _ = programs.found(name)
        done = subprocess.run(
            (program, *words), env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name} {words}: {done.stderr}\n{self._log()}"

    def _start(self, name: str, *words: str) -> None:
        program, _ = programs.found(name)
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running.append(
                subprocess.Popen((program, *words), env=self._environment, stdout=log, stderr=log)
            )

    def _log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self._folder.glob("*.log"))
