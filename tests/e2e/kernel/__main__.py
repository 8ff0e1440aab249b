"""Boots the VM, runs the tests in it, and shows what they saw as a table."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Final

from tests.e2e.kernel import table
from tests.e2e.kernel.vm import boot
from tests.e2e.kernel.vm.debian import CannotRun
from tests.e2e.kernel.vm.emulator import emulator
from tests.e2e.kernel.vm.image import image

REPOSITORY: Final = Path(__file__).parents[3]
DEADLINE_S: Final = 900.0
"""Against a VM that hangs: a run takes three minutes, seven on a busy machine."""
PYTEST: Final = ("-rs", "-p", "pytest_timeout", "-p", "no:cacheprovider", "--confcutdir=tests/e2e")
"""Without plugins that nobody here uses: each module takes its time to import."""


def main() -> int:
    """The tests' exit code; 0 where this machine can't have the VM."""
    cache = cache_folder(os.environ)
    began = monotonic()
    try:
        qemu = emulator(cache)
        made = image(cache)
    except CannotRun as why:
        print(f"e2e kernel: not run: {why}")
        return 0
    ready_s = monotonic() - began
    print(f"e2e kernel: Linux {made.version}, image ready in {ready_s:.1f} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="rbln-share-") as share:
        began = monotonic()
        try:
            code = boot.run(
                qemu,
                made,
                (sys.executable, "-m", "pytest", *PYTEST, *words(sys.argv[1:])),
                share=Path(share),
                folder=REPOSITORY,
                environment={
                    "PATH": os.environ["PATH"],
                    "HOME": "/root",
                    "LANG": "C.UTF-8",
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                    "RBLN_VM_SHARE": boot.SHARE,
                    "RBLN_VM_WITHOUT_NETWORK": qemu.without_network,
                },
                deadline_s=DEADLINE_S,
            )
        except boot.Crashed as error:
            print(f"e2e kernel: {error}")
            return 1
        total_s = monotonic() - began
        text = table.text(table.read(Path(share)), kernel=made.version, total_s=total_s)
    print(text)
    if code == 0 and not sys.argv[1:]:
        (cache / "results.md").write_text(text)
    return code


def words(given: list[str]) -> list[str]:
    """What pytest is to run: this folder, where no path is among the words given."""
    folder = str(Path(__file__).parent.relative_to(REPOSITORY))
    return given if any(word.startswith(folder) for word in given) else [folder, *given]


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where what takes time to make is kept, from one run and one checkout to the next."""
    chosen = environment.get("RBLN_E2E_CACHE")
    if chosen:
        return Path(chosen).absolute() / "kernel"
    caches = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches, "rbln-e2e", "kernel")


if __name__ == "__main__":
    sys.exit(main())
