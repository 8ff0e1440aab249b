"""The health policy of a pool: its ``health`` key, in which every part is optional."""

import re
from collections.abc import Mapping
from typing import Final

from rbln_supervisor.core.config.durations import read_seconds
from rbln_supervisor.core.config.fields import (
    Diagnostics,
    Field,
    add_type_error,
    read_boolean,
    read_fields,
    read_strings,
)
from rbln_supervisor.core.config.positions import quote_value
from rbln_worker.contract.health import HealthPolicy, NpuStatuses, Probation

KEYS: Final = ("linkState", "suspectSeconds", "unknownHoldSeconds", "probation", "npuStatus")
PROBATION_KEYS: Final = ("firstSeconds", "repeatSeconds", "maxSeconds", "resetAfterSeconds")

NPU_WORDS: Final = frozenset({"READY", "BUSY", "PROBING", "INIT", "FAULT", "FINISH"})

_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})", re.ASCII)
_DEFAULT: Final = HealthPolicy()


def read_policy(at: Field | None, notes: Diagnostics) -> HealthPolicy:
    """Return the policy; the default if it is missing, null or (noted as an error) no object."""
    found = _read_object(at, KEYS, notes)
    link = found.get("linkState")
    return HealthPolicy(
        link_state=_DEFAULT.link_state if link is None else _read_switch(link, notes),
        suspect_s=read_seconds(found.get("suspectSeconds"), _DEFAULT.suspect_s, notes),
        unknown_hold_s=read_seconds(
            found.get("unknownHoldSeconds"), _DEFAULT.unknown_hold_s, notes
        ),
        probation=_read_probation(found.get("probation"), notes),
        npu_statuses=_npu_statuses(found.get("npuStatus"), notes),
    )


def _npu_statuses(at: Field | None, notes: Diagnostics) -> tuple[NpuStatuses, ...]:
    """Return the status names by driver version, from ``{"4.0": ["READY", "BUSY", …]}``."""
    match at:
        case None | Field(value=None):
            return ()
        case Field(value=dict() as drivers):
            pass
        case _:
            add_type_error(at, "object", notes)
            return ()
    read = []
    for version, words in drivers.items():
        one = Field(f"{at.place}[{quote_value(version)}]", words)
        number = _VERSION.fullmatch(version)
        if number is None:
            notes.add_error(one.place, "expected a driver version such as 3.6 as the key")
            continue
        named = read_strings(one, notes)
        if named[:2] != ("READY", "BUSY") or not {*named} <= NPU_WORDS or _has_duplicates(named):
            notes.add_error(
                one.place,
                f"expected READY, BUSY, then {', '.join(sorted(NPU_WORDS - {'READY', 'BUSY'}))} "
                "in the order of their numbers, each once at most",
            )
        read.append(NpuStatuses((int(number[1]), int(number[2])), named))
    return tuple(sorted(read, key=lambda one: one.since))


def _has_duplicates(words: tuple[str, ...]) -> bool:
    return len({*words}) < len(words)


def _read_switch(at: Field, notes: Diagnostics) -> bool:
    return _DEFAULT.link_state if at.value is None else read_boolean(at, notes)


def _read_probation(at: Field | None, notes: Diagnostics) -> Probation:
    found, default = _read_object(at, PROBATION_KEYS, notes), _DEFAULT.probation
    read = Probation(
        first_s=read_seconds(found.get("firstSeconds"), default.first_s, notes),
        repeat_s=read_seconds(found.get("repeatSeconds"), default.repeat_s, notes),
        max_s=read_seconds(found.get("maxSeconds"), default.max_s, notes),
        reset_after_s=read_seconds(found.get("resetAfterSeconds"), default.reset_after_s, notes),
    )
    most = found.get("maxSeconds")
    if most is not None and read.max_s < max(read.first_s, read.repeat_s):
        said = f"{read.max_s:g} is less than firstSeconds or repeatSeconds, and counts for them"
        notes.add_warning(most.place, said)
    return read


def _read_object(
    at: Field | None, keys: tuple[str, ...], notes: Diagnostics
) -> Mapping[str, Field]:
    if at is None or at.value is None:
        return {}
    return read_fields(at, keys, notes) or {}
