"""The simulated kubelet keeps the contract that the real one keeps (tests/e2e/kubelet)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.kubelet import SimKubelet, kubelet_1_20
from tests.sim.kubelet_contract import KubeletContract

pytestmark = pytest.mark.system


class TestContract(KubeletContract):
    @pytest.fixture
    def kubelet(self, short_path: Path) -> Iterator[SimKubelet]:
        with kubelet_1_20(short_path) as kubelet:
            yield kubelet
