"""Boots the VM, runs the tests in it, and shows what they saw as a table."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from tests import second_attempt
from tests.e2e.kernel import table
from tests.e2e.kernel.vm import boot, tools
from tests.e2e.kernel.vm.debian import CannotRun
from tests.e2e.kernel.vm.emulator import emulator
from tests.e2e.kernel.vm.image import image
from tests.e2e.kernel.vm.kernels import KERNELS, STABLE

REPOSITORY: Final = Path(__file__).parents[3]
DEADLINE_S: Final = 900.0
"""Against a VM that hangs: a run takes three minutes, seven on a busy machine."""
PYTEST: Final = (
    *("-rs", "--confcutdir=tests/e2e", "-p", "no:cacheprovider"),
    *("-p", "pytest_timeout", "-p", "tests.second_attempt"),
)
"""Without plugins that nobody here uses: each module takes its time to import."""
RECORDED: Final = ((), ("-m", "by_kernel"))
"""Words for pytest whose results ``scripts/e2e record`` takes."""


def main(arguments: Sequence[str]) -> int:
    """Return the tests' exit code; 0 where this machine can't have the VM."""
    parser = argparse.ArgumentParser(prog="scripts/e2e kernel", allow_abbrev=False)
    parser.add_argument("--kernel", choices=KERNELS, default=STABLE.name)
    chosen, given = parser.parse_known_args(arguments)
    cache = cache_folder(os.environ)
    began = monotonic()
    try:
        qemu = emulator(cache)
        made = image(cache, KERNELS[chosen.kernel])
    except CannotRun as why:
        print(f"e2e kernel: {chosen.kernel}: not run: {why}")
        return 0
    try:
        programs, no_programs = str(tools.unpack(cache)), ""
    except CannotRun as why:
        programs, no_programs = "", f"{', '.join(tools.PACKAGES)}: {why}"
    ready_s = monotonic() - began
    print(f"e2e kernel: Linux {made.version}, image ready in {ready_s:.1f} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="rbln-share-") as share:
        began = monotonic()

        def run_tests(file: Path, tests: Sequence[str]) -> int:
            code = boot.run(
                qemu,
                made,
                (sys.executable, "-m", "pytest", *PYTEST, *words([*tests] or given)),
                share=Path(share),
                folder=REPOSITORY,
                environment={
                    "PATH": os.environ["PATH"],
                    "HOME": "/root",
                    "LANG": "C.UTF-8",
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                    "RBLN_VM_SHARE": boot.SHARE,
                    second_attempt.VARIABLE: f"{boot.SHARE}/{file.name}",
                    "RBLN_VM_KERNEL": chosen.kernel,
                    "RBLN_VM_WITHOUT_NETWORK": qemu.without_network,
                    "RBLN_VM_WITHOUT_SWITCH": qemu.without_switch or made.without_built,
                    "RBLN_VM_WITHOUT_BUILT": made.without_built,
                    "RBLN_VM_TOOLS": programs,
                    "RBLN_VM_WITHOUT_TOOLS": no_programs,
                },
                deadline_s=DEADLINE_S,
            )
            if (failed := Path(share, file.name)).exists():
                shutil.move(failed, file)
            return code

        try:
            code = second_attempt.run_with_second_attempt(run_tests)
        except boot.Crashed as error:
            print(f"e2e kernel: {error}")
            return 1
        total_s = monotonic() - began
        text = table.text(table.read(Path(share)), kernel=made.version, total_s=total_s)
    print(text)
    if code == 0 and tuple(given) in RECORDED:
        (cache / f"results-{chosen.kernel}.md").write_text(text)
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
    sys.exit(main(sys.argv[1:]))
