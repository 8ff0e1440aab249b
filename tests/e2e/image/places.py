"""Where images and containers are kept."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cannot_run import CannotRun


class Places:
    """The folders below the cache folder, and those that go with a boot."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.storage = cache / "storage"
        """Images, layers and containers."""
        self.logs = cache / "log"
        self.results = cache / "results.md"
        known_by = hashlib.sha256(str(cache).encode()).hexdigest()[:8]
        self.state = Path("/run/rbln-e2e-image") / known_by
        """What podman and buildah know of running containers; it goes with a boot."""

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """Be the only run that uses them; CannotRun."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.cache / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotRun("another run of it is under way on this machine") from None
            yield


def cache_folder() -> Path:
    """What is built once for a machine: RBLN_E2E_CACHE, or a folder of the user's cache."""
    chosen = os.environ.get("RBLN_E2E_CACHE")
    if chosen:
        return Path(chosen).absolute() / "image"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rbln-e2e" / "image"
