"""``scripts/e2e kubelet``: builds what is missing, runs the tests, prints the table."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.kubelet import build, host
from tests.e2e.kubelet.cluster import only_one
from tests.e2e.kubelet.setting import CannotRun, Places, cache_folder


def main(arguments: Sequence[str]) -> int:
    """0: all passed, or it can't run here and said why. Words go to pytest."""
    places = Places(cache_folder())
    try:
        host.check()
        with only_one(places):
            build.prepare(places, lambda text: print(f"e2e kubelet: {text}", flush=True))
    except CannotRun as reason:
        print(f"e2e kubelet: not run: {reason}")
        return 0
    places.results.unlink(missing_ok=True)
    folder = str(Path(__file__).parent)
    return int(pytest.main(["-p", "no:xdist", "-p", "no:cacheprovider", folder, *arguments]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
