"""JSON of ``rbln-ctl doctor`` and ``rbln-ctl events`` that kubectl rbln reads."""

import msgspec

from rbln_worker.contract.events import Event
from rbln_worker.contract.problem import Problem


class DoctorResult(msgspec.Struct, frozen=True):
    """Result to ``doctor``."""

    problems: tuple[Problem, ...]


class EventsResult(msgspec.Struct, frozen=True):
    """Result to ``events``."""

    events: tuple[Event, ...]
