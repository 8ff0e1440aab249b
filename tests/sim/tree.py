"""A directory tree that changes as sysfs does: in whole files and whole links."""

import os
import shutil
from pathlib import Path
from typing import Final

_ASIDE: Final = ".aside"
"""Where things are made and taken apart, on the same file system and out of every reader's way."""


class Tree:
    """Files, links and directories below a root; paths are given as the host has them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._aside = root / _ASIDE
        self._aside.mkdir(parents=True, exist_ok=True)
        self._count = 0

    def at(self, path: str | Path) -> Path:
        """Where the host's absolute path lies in this tree."""
        return self.root / str(path).lstrip("/")

    def write(self, path: str | Path, content: str | bytes) -> None:
        """Give a file its content at once: no reader sees it empty or half, as in sysfs."""
        aside = self._new_name()
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        self._into_place(aside, path)

    def link(self, path: str | Path, target: str | Path) -> None:
        """Make a relative link to another path of the tree, as sysfs links are."""
        place = self.at(path)
        aside = self._new_name()
        aside.symlink_to(os.path.relpath(self.at(target), place.parent))
        self._into_place(aside, path)

    def fifo(self, path: str | Path) -> None:
        """Put a pipe without a writer in a file's place: whoever opens it to read hangs."""
        aside = self._new_name()
        os.mkfifo(aside)
        self._into_place(aside, path)

    def answer(self, path: str | Path, content: str) -> None:
        """Put a file in the place of such a pipe; who hangs there reads the same."""
        try:
            # Both ends: a pipe that nobody reads yet can't be opened for writing alone.
            pipe = os.open(self.at(path), os.O_RDWR | os.O_NONBLOCK)
        except FileNotFoundError:
            self.write(path, content)
            return
        self.write(path, content)
        os.write(pipe, content.encode())
        os.close(pipe)

    def directory(self, path: str | Path) -> None:
        """Make a directory and those above it."""
        self.at(path).mkdir(parents=True, exist_ok=True)

    def remove(self, path: str | Path) -> None:
        """Take away a file, a link or a whole directory at once; what isn't there stays away."""
        aside = self._new_name()
        try:
            self.at(path).rename(aside)
        except FileNotFoundError:
            return
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink()

    def _new_name(self) -> Path:
        self._count += 1
        return self._aside / str(self._count)

    def _into_place(self, aside: Path, path: str | Path) -> None:
        place = self.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(place)
