"""The system answers what the reference answers (tests/conformance)."""

import pytest

from tests.sim import conformance
from tests.sim.examine import examine

pytestmark = pytest.mark.system


@pytest.mark.parametrize("name", conformance.names())
def test_case(name: str) -> None:
    examine(conformance.load(name))
