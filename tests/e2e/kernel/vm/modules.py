"""Which files a kernel needs to have some modules, and in which order it takes them."""

import lzma
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_DEPENDS: Final = re.compile(rb"\0depends=([^\0]*)\0")
"""In a module's section .modinfo; depmod reads it there, too."""


class Modules:
    """The modules of a kernel that is unpacked in a folder."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is lib/modules/VERSION."""
        self._files = {_name(path.name.split(".ko")[0]): path for path in folder.rglob("*.ko*")}
        builtin = (folder / "modules.builtin").read_text().split()
        self._builtin = {_name(Path(line).stem) for line in builtin}

    def has(self, name: str) -> bool:
        """Return True where the kernel has the module, or has it built in."""
        return _name(name) in self._files or _name(name) in self._builtin

    def ordered(self, wanted: Iterable[str]) -> dict[str, bytes]:
        """Name → file for all that ``wanted`` need, each after what it needs itself."""
        found: dict[str, bytes] = {}
        for name in wanted:
            self._add(_name(name), found)
        return found

    def _add(self, name: str, found: dict[str, bytes]) -> None:
        if name in found or name in self._builtin:
            return
        path = self._files[name]
        content = path.read_bytes()
        if path.suffix == ".xz":  # since Debian 13
            content = lzma.decompress(content)
        depends = _DEPENDS.search(content)
        for needed in (depends[1].decode() if depends else "").split(","):
            if needed:
                self._add(_name(needed), found)
        found[name] = content


def _name(file: str) -> str:
    """Modules are known by either spelling."""
    return file.replace("-", "_")
