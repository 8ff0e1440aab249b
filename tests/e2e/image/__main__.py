"""``scripts/e2e image``: installs and builds what is missing, runs the tests, prints the table."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from tests.e2e import packages
from tests.e2e.cannot_run import CannotRun
from tests.e2e.image import base, build
from tests.e2e.image.container import WORDS
from tests.e2e.image.engine import Engine, Failed
from tests.e2e.image.places import Places, cache_folder
from tests.second_attempt import run_pytest, run_with_second_attempt

DISK_BYTES_LEAST: Final = 3 * 1024**3
SLOW: Final = ("-o", "timeout=300", "-o", "faulthandler_timeout=240")
"""One of the tests builds the image a second time, from nothing."""


def main(arguments: Sequence[str]) -> int:
    """0: all passed, or it can't run here and said why. Words go to pytest."""
    places = Places(cache_folder())
    engine = Engine(places)
    try:
        _check()
        with places.only_one():
            return _run(engine, places, arguments)
    except CannotRun as reason:
        print(f"e2e image: not run: {reason}")
        return 0
    except Failed as error:
        print(f"e2e image: {error}")
        return 1


def _check() -> None:
    if os.geteuid() != 0:
        raise CannotRun("containers on a storage of their own need root")
    for tool in ("apt-get", "dpkg-query"):
        if shutil.which(tool) is None:
            raise CannotRun(f"there is no {tool}")


def _run(engine: Engine, places: Places, arguments: Sequence[str]) -> int:
    if (free := shutil.disk_usage(places.cache).free) < DISK_BYTES_LEAST:
        raise CannotRun(f"{places.cache} has {free / 1024**3:.1f} GiB free, it needs 3")
    began = monotonic()
    packages.ensure(base.PACKAGES, places.logs / "apt.log")
    engine.podman("rm", "--all", "--force")  # what a run left that was killed
    base.prepare(engine, places, _say)
    tried = engine.tried("run", "--rm", *WORDS, base.BASE, "true")
    if tried.returncode:
        raise CannotRun(f"no container can be run here: {tried.stderr.strip()[-300:]}")
    _say(f"bases ready after {monotonic() - began:.1f} s")
    build.make_room(engine)
    _say(f"image built in {build.build(engine, places):.1f} s")
    places.results.unlink(missing_ok=True)
    folder = str(Path(__file__).parent)
    words = ("-p", "no:xdist", "-p", "no:cacheprovider", *SLOW)
    code = run_with_second_attempt(
        lambda file, tests: run_pytest((*words, *(tests or (folder, *arguments))), file)
    )
    if places.results.exists():
        print(places.results.read_text())
    _say(f"{monotonic() - began:.1f} s in all")
    return code


def _say(text: str) -> None:
    print(f"e2e image: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
