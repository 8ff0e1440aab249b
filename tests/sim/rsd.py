"""The vendor's tool and the driver's RSD groups on a simulated node.

The tool is a real program (rsd_smi.py). How it behaves is written into a file before it is called.
"""

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.sim import rsd_smi
from tests.sim.tree import Tree


class SimRsd:
    """NPUs in groups; all in group 0 at first."""

    def __init__(self, root: Path, npus: Iterable[str], tool: str = "usr/bin/rbln-smi") -> None:
        self.tool = root / tool
        self.lock = root / "var/run/rbln-rsd-group.lock"
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._tree = Tree(root)
        self._state = self.tool.with_name("rbln-smi.state")
        self._state.mkdir(parents=True, exist_ok=True)
        (self._state / "root").write_text(f"{root}")
        (root / "dev").mkdir(exist_ok=True)
        self.behave()
        program = Path(rsd_smi.__file__).read_text()
        self._tree.write(f"/{tool}", f"#!{sys.executable} -SE\n{program}")
        self.tool.chmod(0o755)
        self.set_groups(dict.fromkeys(npus, 0))

    def behave(self, **knobs: object) -> None:
        """Replace the behaviour of the tool; nothing: it works."""
        self._write("behaviour.json", json.dumps(knobs))

    def set_groups(self, groups: Mapping[str, int]) -> None:
        """Set the group of each NPU, as another tool does."""
        self._write("groups.json", json.dumps(groups))
        listed = self._lines(groups)
        self._tree.write("/sys/class/rebellions/rsd/rsd_group", rsd_smi.HEADER + listed)
        for group in {0, *groups.values()}:
            (self._root / f"dev/rsd{group}").touch()

    def hide_driver_list(self) -> None:
        """Be a driver without ``rsd_group``: only the tool knows the groups."""
        self._tree.remove("/sys/class/rebellions/rsd")
        self.behave(driver_list=False)

    def hang_driver_list(self) -> None:
        """Let reads of ``rsd_group`` wait."""
        self._tree.fifo("/sys/class/rebellions/rsd/rsd_group")

    def answer_driver_list(self) -> None:
        """Let them go on."""
        by_npu = json.loads((self._state / "groups.json").read_text())
        text = rsd_smi.HEADER + self._lines(by_npu)
        self._tree.answer("/sys/class/rebellions/rsd/rsd_group", text)

    @property
    def groups(self) -> dict[int, frozenset[str]]:
        """The groups that exist, without group 0."""
        by_npu: dict[str, int] = json.loads((self._state / "groups.json").read_text())
        return {
            group: frozenset(npu for npu, its in by_npu.items() if its == group)
            for group in set(by_npu.values()) - {0}
        }

    @property
    def nodes(self) -> frozenset[str]:
        """The groups' nodes."""
        return frozenset(path.name for path in (self._root / "dev").glob("rsd*"))

    @property
    def calls(self) -> tuple[str, ...]:
        """The arguments of each call."""
        try:
            text = (self._state / "calls").read_text()
        except FileNotFoundError:
            return ()
        return tuple(line.split(" ", 1)[1] for line in text.splitlines())

    @property
    def hanging(self) -> tuple[int, ...]:
        """The processes of the call that hangs."""
        try:
            return tuple(int(pid) for pid in (self._state / "hanging").read_text().split())
        except FileNotFoundError:
            return ()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, as another tool does."""
        file = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _lines(self, groups: Mapping[str, int]) -> str:
        return "".join(f"{group},rsd{group},{npu}\n" for npu, group in sorted(groups.items()))

    def _write(self, name: str, text: str) -> None:
        aside = self._state / f".{name}"
        aside.write_text(text)
        aside.replace(self._state / name)
