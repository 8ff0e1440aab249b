"""The health policy of a pool: its ``health`` key, in which every part is optional."""

import re
from typing import Any, Final

from rbln_supervisor.core.config.fields import Diagnostics, Field, Key, member_place
from rbln_supervisor.core.config.readers import (
    map_of,
    read_boolean,
    read_seconds,
    read_strings,
    struct_of,
)
from rbln_worker.contract.health import NpuStatuses, Probation

NPU_WORDS: Final = frozenset({"READY", "BUSY", "PROBING", "INIT", "FAULT", "FINISH"})

_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})", re.ASCII)


def _read_npu_statuses(at: Field, notes: Diagnostics) -> tuple[NpuStatuses, ...]:
    """Return the status names by driver version, from ``{"4.0": ["READY", "BUSY", …]}``."""
    drivers: Any = map_of(_read_words)(at, notes) or {}
    read = []
    for version, words in drivers.items():
        if number := _VERSION.fullmatch(version):
            read.append(NpuStatuses((int(number[1]), int(number[2])), words or ()))
        else:
            place = member_place(at.place, version)
            notes.add_error(place, "expected a driver version such as 3.6 as the key")
    return tuple(sorted(read, key=lambda one: one.since))


def _read_words(at: Field, notes: Diagnostics) -> object:
    words: Any = read_strings(at, notes)
    if words is not None and (
        words[:2] != ("READY", "BUSY") or not {*words} <= NPU_WORDS or len({*words}) < len(words)
    ):
        others = ", ".join(sorted(NPU_WORDS - {"READY", "BUSY"}))
        notes.add_error(
            at.place,
            f"expected READY, BUSY, then {others} in the order of their numbers, each once at most",
        )
    return words


PROBATION_KEYS: Final = {
    "firstSeconds": Key("first_s", read_seconds),
    "repeatSeconds": Key("repeat_s", read_seconds),
    "maxSeconds": Key("max_s", read_seconds),
    "resetAfterSeconds": Key("reset_after_s", read_seconds),
}
KEYS: Final = {
    "linkState": Key("link_state", read_boolean),
    "suspectSeconds": Key("suspect_s", read_seconds),
    "unknownHoldSeconds": Key("unknown_hold_s", read_seconds),
    "probation": Key("probation", struct_of(Probation, PROBATION_KEYS)),
    "npuStatus": Key("npu_statuses", _read_npu_statuses),
}
