"""What we make on the machine outside of our own folders: written down, and removed at the end."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

from tests.sim import processes


class Traces:
    """A list on disk, so that the next run can clean up after one that was killed."""

    def __init__(self, record: Path) -> None:
        self._record = record

    def add_file(self, path: Path, content: str, mode: int) -> None:
        """Make a file that isn't there; FileExistsError."""
        self._note_new("path", path)
        path.write_text(content)
        path.chmod(mode)

    def add_device(self, path: Path, device: int) -> None:
        """Make a character device node that isn't there; FileExistsError."""
        self._add_folder(path.parent)
        self._note_new("path", path)
        os.mknod(path, stat.S_IFCHR | 0o666, device)
        path.chmod(0o666)  # the umask took from it

    def add_folder(self, path: Path) -> None:
        """From now on a folder is ours with everything in it; FileExistsError if it holds files."""
        if any(not found.is_dir() for found in path.rglob("*")):
            raise FileExistsError(path)
        self._note("tree", path)
        path.mkdir(parents=True, exist_ok=True)

    def add_processes(self, mark: str) -> None:
        """Somebody is about to start processes that are marked so in their environment."""
        self._note("processes", Path(mark))

    def add_mount(self, place: Path) -> None:
        """Somebody is about to mount something there; the folder is made where there is none."""
        self._add_folder(place)
        self._note("mount", place)

    def add_address(self, address: str) -> None:
        """Give the loopback interface an IPv4 address that the machine does not have."""
        self._note("address", Path(address))
        command = ("ip", "address", "replace", f"{address}/32", "dev", "lo")
        subprocess.run(command, check=True)

    def remove(self) -> None:
        """Take everything away again, the last first."""
        for kind, path in reversed(self._read()):
            match kind:
                case "processes":
                    processes.kill(processes.marked(path))
                case "mount":
                    subprocess.run(["umount", path], check=False)
                case "address":
                    command = ("ip", "address", "del", f"{path}/32", "dev", "lo")
                    subprocess.run(command, check=False)
                case "tree":
                    shutil.rmtree(path, ignore_errors=True)
                case "folder":
                    with contextlib.suppress(OSError):  # somebody else put something into it
                        Path(path).rmdir()
                case _:
                    Path(path).unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def _add_folder(self, folder: Path) -> None:
        if not folder.exists():
            self._note("folder", folder)
            folder.mkdir()

    def _note_new(self, kind: str, path: Path) -> None:
        # What is there and not on the list is not ours, and must not get on the list.
        if [kind, str(path)] not in self._read() and os.path.lexists(path):
            raise FileExistsError(path)
        self._note(kind, path)

    def _note(self, kind: str, path: Path) -> None:
        entries = self._read()
        if [kind, str(path)] not in entries:
            self._record.parent.mkdir(parents=True, exist_ok=True)
            self._record.write_text(json.dumps([*entries, [kind, str(path)]]))

    def _read(self) -> list[list[str]]:
        try:
            entries: list[list[str]] = json.loads(self._record.read_text())
        except FileNotFoundError:
            return []
        return entries
