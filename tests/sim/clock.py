"""A wall clock that jumps, for processes under test: a preloaded library (clock_offset.c)."""

import shutil
import struct
import subprocess
from pathlib import Path


class SimClock:
    """The offset of the wall clock of all processes that ``command`` starts."""

    def __init__(self, folder: Path) -> None:
        """Build the library in ``folder``; ``is_possible`` says if there is a compiler."""
        self._file = folder / "clock"
        self._file.write_bytes(struct.pack("=q", 0))
        self._library = folder / "clock_offset.so"
        compiler = shutil.which("cc") or shutil.which("gcc")
        self.is_possible = compiler is not None
        if compiler is not None:
            source = Path(__file__).with_name("clock_offset.c")
            subprocess.run(
                [compiler, "-shared", "-fPIC", "-O1", "-o", self._library, source], check=True
            )

    @property
    def command(self) -> tuple[str, ...]:
        """A command that runs another one with this clock, with the same pid."""
        if not self.is_possible:
            return ()
        return "env", f"LD_PRELOAD={self._library}", f"RBLN_SIM_CLOCK={self._file}"

    def set_offset(self, seconds: int) -> None:
        """Let the wall clock be off by so much, at once."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))
