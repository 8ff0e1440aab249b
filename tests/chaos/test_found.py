"""What broke once, broken again: defects that take a whole world to show."""

import pytest

from tests.chaos.test_chaos import chaos

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("seed", "only"),
    [
        # A socket that could not be removed ended its worker (by the plugin watcher).
        pytest.param(7, "kubelet's folder read-only", id="a read-only kubelet folder"),
        # The lock and the last log lines of a removed pool stayed for ever.
        pytest.param(1, "pool added,pool removed", id="a pool that is removed"),
        # A deadline of a device passed while its worker left, and was an error in the log.
        pytest.param(24, "sriov_numvfs,supervisor leaves", id="devices that are late at the end"),
    ],
)
def test_what_broke_once_holds(seed: int, only: str) -> None:
    told = chaos("--minutes", "1", "--steps", "3", "--seed", f"{seed}", "--only", only)
    assert "every invariant held" in told
