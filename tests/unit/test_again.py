"""When a reload is tried again that the kubelet could not be asked about."""

import math

from rbln_supervisor.core.config.retry_timer import FIRST_RETRY_S, MAX_RETRY_S, RetryTimer


def test_it_is_tried_soon_and_then_less_and_less_often() -> None:
    again, now, waits = RetryTimer(), 100.0, []
    assert again.retry_at == math.inf
    for _ in range(8):
        again = again.after_failure(now)
        assert not again.trying
        waits.append(again.retry_at - now)
        now = again.retry_at
        again = again.while_trying()
        assert again.trying
        assert again.retry_at == math.inf
    assert waits[0] == FIRST_RETRY_S
    assert waits == sorted(waits)
    assert waits[-1] == MAX_RETRY_S
