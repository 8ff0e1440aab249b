"""What the tests of the DRA export have in common."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.dra.claims import Claims
from tests.e2e.cluster.kubectl import Kubectl


@pytest.fixture
def claims(bench: Bench, kubectl: Kubectl) -> Iterator[Claims]:
    """What a test makes of resource.k8s.io; gone afterwards."""
    with Claims(bench, kubectl) as claims:
        yield claims
