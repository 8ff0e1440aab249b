"""What broke once, broken again: defects that take a whole world to show."""

import pytest

from tests.chaos.test_chaos import chaos

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


FAULTS = (
    # A socket that could not be removed ended its worker (by the plugin watcher).
    "kubelet's folder read-only",
    # The lock and the last log lines of a removed pool stayed for ever.
    *("pool added", "pool removed"),
    # A deadline of a device passed while its worker left, and was an error in the log.
    *("sriov_numvfs", "supervisor leaves"),
)
WATCHER = 7
"""A seed whose workers are registered by the plugin watcher."""


def test_what_broke_once_holds() -> None:
    told = chaos(
        "--minutes", "1", "--steps", "6", "--seed", f"{WATCHER}", "--only", ",".join(FAULTS)
    )
    assert "registration plugin-watcher" in told
    assert "every invariant held" in told
