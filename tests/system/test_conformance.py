"""The system answers what the reference answers (tests/conformance)."""

from typing import Final

import pytest

from tests.sim import conformance
from tests.sim.examine import Preferences, examine

pytestmark = pytest.mark.system

NOT_YET_JUDGED: Final = ("ca25-", "mixed-", "nic-", "sf-", "single-")
"""Beginnings of the names of cases that need what is not built yet."""

PREFERENCES: Final = Preferences.MAY_BE_EMPTY
"""Until preferred allocations are built."""


@pytest.mark.parametrize(
    "name", [name for name in conformance.names() if not name.startswith(NOT_YET_JUDGED)]
)
def test_case(name: str) -> None:
    examine(conformance.load(name), PREFERENCES)


@pytest.mark.parametrize("name", conformance.names())
def test_every_case_can_be_read(name: str) -> None:
    assert conformance.load(name).name == name
