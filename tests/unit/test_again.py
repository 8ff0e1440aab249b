"""When a reload is tried again that the kubelet could not be asked about."""

import math

from rbln_supervisor.core.config.retry_timer import FIRST_S, MOST_S, RetryTimer


def test_it_is_tried_soon_and_then_less_and_less_often() -> None:
    again, now, waits = RetryTimer(), 100.0, []
    assert again.due == math.inf
    for _ in range(8):
        again = again.failed(now)
        assert not again.trying
        waits.append(again.due - now)
        now = again.due
        again = again.began()
        assert again.trying
        assert again.due == math.inf
    assert waits[0] == FIRST_S
    assert waits == sorted(waits)
    assert waits[-1] == MOST_S
