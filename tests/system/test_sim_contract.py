"""The simulated kubelets keep the contract that the real ones keep (tests/e2e/cluster)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.kubelet import SimKubelet, kubelet_1_34, kubelet_1_37
from tests.sim.kubelet_contract import KubeletContract

pytestmark = pytest.mark.system


class TestContract(KubeletContract):
    @pytest.fixture(params=[kubelet_1_37, kubelet_1_34])
    def kubelet(self, request: pytest.FixtureRequest, short_path: Path) -> Iterator[SimKubelet]:
        kubelet: SimKubelet = request.param(short_path)
        kubelet.knobs.dial_deadline_s = 2.0  # some claims wait for it
        with kubelet:
            yield kubelet
