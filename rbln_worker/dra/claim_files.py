"""CDI specs and metadata of prepared claims. All functions here may block."""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers.provider import Mount
from rbln_worker.core.dra.claim_entry import ClaimEntry
from rbln_worker.core.dra.claim_spec import (
    SpecSource,
    claim_of_file,
    claim_spec_text,
    entry_of_spec,
    spec_file_name,
)
from rbln_worker.core.dra.metadata import metadata_files
from rbln_worker.core.dra.resource_slice import DeviceAttribute
from rbln_worker.dra.checkpoint_file import explained_errors, remove_leftovers
from rbln_worker.process.replace_file import replace_file

_FILE_MODE: Final = 0o644
"""Containers with any user read them."""


class DeviceBoard(msgspec.Struct, frozen=True):
    """The devices of the pool at one moment, for specs and metadata."""

    pool: PoolName
    answers: Mapping[DeviceId, DeviceAllocation]
    attributes: Mapping[str, Mapping[str, DeviceAttribute]]
    """Attributes in ResourceSlices by name of the device."""


class ClaimFiles:
    """The files of the claims of one driver."""

    def __init__(
        self, driver: str, node: str, *, folder: Path, spec_folder: Path, root: Path
    ) -> None:
        """Keep metadata in ``folder``; ``root``: the prefix of the host's paths."""
        self._driver = driver
        self._node = node
        self._metadata = folder / "metadata"
        self._specs = spec_folder
        self._root = root

    def write_files(self, entry: ClaimEntry, board: DeviceBoard) -> None:
        """Write a claim's metadata, then its spec; raise ClaimFilesError.

        Files that have their content already are not touched.
        """
        files = metadata_files(entry, self._driver, self._node, board.attributes)
        folder = self._metadata / entry.uid
        mounts = {}
        with explained_errors(self._metadata):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            for file in files:
                path = folder / f"{file.request}.json"
                _write_changed(path, file.text)
                host = path.relative_to(self._root)
                mounts[file.request] = Mount(f"/{host}", file.container)
        source = SpecSource(self._driver, board.pool, board.answers, mounts)
        with explained_errors(self._specs):
            self._specs.mkdir(mode=0o755, parents=True, exist_ok=True)
            _write_changed(self._spec_path(entry.uid), claim_spec_text(entry, source))

    def has_spec(self, uid: str) -> bool:
        """Return True if the spec of a claim exists."""
        return self._spec_path(uid).exists()

    def remove_files(self, uid: str) -> None:
        """Remove a claim's spec, then its metadata; raise ClaimFilesError."""
        with explained_errors(self._specs):
            self._spec_path(uid).unlink(missing_ok=True)
            if (self._metadata / uid).is_dir():
                shutil.rmtree(self._metadata / uid)

    def remove_others(self, uids: Collection[str]) -> None:
        """Remove the files of all claims but these, and of writers that were killed."""
        with explained_errors(self._specs):
            remove_leftovers(self._specs, f"rbln-claim-{self._driver}_")
            remove_leftovers(self._metadata.parent, "")
            for uid in {*self._specified_claims(), *_entries_of(self._metadata)} - set(uids):
                self.remove_files(uid)

    def find_entries(self, boot: str) -> Iterator[ClaimEntry]:
        """Yield the claims of this boot in specs, for a checkpoint that is lost."""
        for uid in self._specified_claims():
            entry = entry_of_spec(self._spec_path(uid).read_bytes())
            if entry is not None and (entry.uid, entry.boot) == (uid, boot):
                yield entry

    def _specified_claims(self) -> Iterator[str]:
        return filter(None, (claim_of_file(one, self._driver) for one in _entries_of(self._specs)))

    def _spec_path(self, uid: str) -> Path:
        return self._specs / spec_file_name(self._driver, uid)


def _write_changed(path: Path, content: bytes) -> None:
    try:
        if path.read_bytes() == content:
            return
    except OSError:  # missing, or not readable: written again
        pass
    replace_file(path, content, _FILE_MODE)


def _entries_of(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is needed
    except FileNotFoundError:
        return []
