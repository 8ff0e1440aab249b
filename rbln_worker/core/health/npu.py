"""The status of an NPU, /sys/class/rebellions/<rblnN>/status; numbers depend on the driver."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from rbln_worker.contract.health import NpuStatuses
from rbln_worker.core.allocation.host_facts import HostFacts, Text, Unread
from rbln_worker.core.allocation.providers.provider import DeviceNode
from rbln_worker.core.health.observation import GOOD, Bad, Doubt, Observation, Unknown, one_line

SOURCE: Final = "npu-status"
KNOWN_UP_TO: Final = (3, 5)
"""The newest driver version with known status numbers; a later one inserts PROBING before INIT.

The version that does so is not public. The configuration can define its numbers (``npuStatus``).
"""

DETAIL_FILES: Final = (
    *("card_name", "kernel_version", "fw_version"),
    *("uuid", "sid", "dram_total"),
)
"""Files with the NPU's identity, which ResourceSlices advertise; an older driver lacks some."""

_NODE: Final = re.compile(r"/dev/(rbln[0-9]{1,6})")
_VERSION: Final = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:[.+~-].*)?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)

_WORDS: Final = ("READY", "BUSY", "INIT", "FAULT", "FINISH")
"""Names by number up to KNOWN_UP_TO. The first two are the same in all drivers."""
_USABLE: Final = frozenset({0, 1})
_FAULT: Final = "FAULT"


def name_of(nodes: Iterable[DeviceNode]) -> str | None:
    """Return the NPU's name (``rbln0``), from the nodes that its containers get."""
    for node in nodes:
        if found := _NODE.fullmatch(node.host):
            return found[1]
    return None


def status_reads(name: str) -> tuple[Text, ...]:
    """Return its status file."""
    return (_npu_file(name, "status"),)


def version_reads(name: str, facts: HostFacts) -> tuple[Text, ...]:
    """Return the file with the driver's version, if the meaning of the status depends on it."""
    status = facts.text(_npu_file(name, "status"))
    if isinstance(status, Unread) or status.strip() in {"0", "1"}:
        return ()
    return (_npu_file(name, "kernel_version"),)


def detail_reads(name: str) -> tuple[Text, ...]:
    """Return the files with its identity."""
    return tuple(_npu_file(name, file) for file in DETAIL_FILES)


def read_details(name: str, facts: HostFacts) -> Mapping[str, str]:
    """Return the texts of these files, by name, without those that can't be read or shown."""
    found = {file: facts.text(_npu_file(name, file)) for file in DETAIL_FILES}
    texts = {file: text.strip() for file, text in found.items() if isinstance(text, str)}
    return {file: text for file, text in texts.items() if text and text.isprintable()}


def status_evidence(
    name: str, facts: HostFacts, statuses: tuple[NpuStatuses, ...] = ()
) -> Observation:
    """Return the evidence of the status; an (older) driver without the file is no bad evidence.

    ``statuses``: the numbers of newer drivers, from the configuration.
    """
    status, version = (facts.text(_npu_file(name, file)) for file in ("status", "kernel_version"))
    if isinstance(status, Unread):
        return GOOD if status.absent else Unknown(SOURCE, f"its status can't be read: {status.why}")
    said = status.strip()
    if not _NUMBER.fullmatch(said):
        return Unknown(SOURCE, f"its status: expected a number, got {said[:40]!r}")
    number = int(said)
    if number in _USABLE:
        return GOOD
    words = _status_names(version, statuses)
    if number >= len(words):
        driver = "unknown version" if isinstance(version, Unread) else one_line(version)
        said = f"nobody knows the status {number} of its driver ({driver}): npuStatus can tell it"
        return Unknown(SOURCE, said)
    word = words[number]
    if word == _FAULT:
        return Bad(SOURCE, f"its status is {word} ({number})")
    return Doubt(SOURCE, f"its status is {word} ({number})")


def _status_names(version: str | Unread, statuses: tuple[NpuStatuses, ...]) -> tuple[str, ...]:
    """Return the names of a driver's status numbers; empty if they are not known."""
    if isinstance(version, Unread) or not (found := _VERSION.fullmatch(version.strip())):
        return ()
    driver = int(found[1]), int(found[2])
    told = [one.words for one in statuses if one.since <= driver]
    if told:
        return told[-1]
    return _WORDS if driver <= KNOWN_UP_TO else ()


def _npu_file(name: str, file: str) -> Text:
    return Text(f"/sys/class/rebellions/{name}/{file}")
