"""The request to the process that examines a node, and its results: one line of JSON each."""

from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_supervisor.options import Options
from rbln_worker.contract.problem import Problem

SECTIONS: Final = ("run directory", "kubelet", "DRA", "kernel limits", "configuration", "hardware")
"""In the order of their examination. The reads of the last one are the most likely to hang."""


class ExamineRequest(msgspec.Struct, frozen=True):
    """A request to examine a node."""

    options: Options
    """Those of the last supervisor, with changes of the command line."""
    unreachable: str | None = None
    """Reason why the supervisor did not answer; None if it did."""
    listing: bool = False
    """True: also collect files for a support bundle."""
    name: str | None = None
    """Return only the owners of this name."""


class SectionResult(msgspec.Struct, frozen=True):
    """The result of one section."""

    section: str
    problems: tuple[Problem, ...] = ()
    files: Mapping[str, str] = {}
    """Texts for a support bundle, by their file name there."""


class Owners(msgspec.Struct, frozen=True):
    """The devices that a name refers to."""

    what: str = ""
    """Description of the thing with this name (``the IOMMU group 12``); empty if it is unknown."""
    devices: tuple[str, ...] = ()
    """Device IDs."""
