"""``scripts/e2e cluster``: builds what is missing, runs the tests, prints the table."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.e2e.cannot_run import CannotRun
from tests.e2e.cluster import build, host, shipped_image
from tests.e2e.cluster.cluster import only_one
from tests.e2e.cluster.setting import RELEASE_VARIABLE, RELEASES, Places, cache_folder, release
from tests.e2e.image.engine import Failed
from tests.manifests import tools
from tests.second_attempt import run_pytest, run_with_second_attempt

PYTEST: Final = (
    *("-p", "no:xdist", "-p", "no:cacheprovider"),
    *("-o", "timeout=300", "-o", "faulthandler_timeout=240"),
)
"""A soak takes longer than a test of the suite may."""


def main(arguments: Sequence[str]) -> int:
    """0: all passed, or it can't run here and said why. Other words go to pytest."""
    parser = argparse.ArgumentParser(prog="scripts/e2e cluster", allow_abbrev=False)
    parser.add_argument("--kubernetes", choices=RELEASES, default=RELEASES[0])
    parser.add_argument("--build", action="store_true", help="build what is missing, run nothing")
    chosen, words = parser.parse_known_args(arguments)
    os.environ[RELEASE_VARIABLE] = chosen.kubernetes
    places = Places(cache_folder())
    try:
        host.check()
        with only_one(places, f"build-{release()}"):  # beside a cluster of another release
            build.prepare(places, _say)
        if chosen.build:
            return 0
        with only_one(places):
            shipped_image.prepare(places, _say)
    except (CannotRun, tools.CannotRun) as reason:
        print(f"e2e cluster: not run: {reason}")
        return 0
    except (Failed, RuntimeError) as error:
        print(f"e2e cluster: {error}")
        return 1
    named = any(Path(word.split("::")[0]).exists() for word in words)
    folder = [] if named else [str(Path(__file__).parent)]
    return run_with_second_attempt(
        lambda file, tests: run_pytest((*PYTEST, *(tests or (*folder, *words))), file)
    )


def _say(text: str) -> None:
    print(f"e2e cluster: Kubernetes {release()}: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
