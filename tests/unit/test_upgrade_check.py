"""The check before an upgrade: one at a time, one reply for each request, no upgrade of a stop.

The installed program is this Python with the command line of the tests, which has no ``--check``.
The check that succeeds is in tests/system/test_upgrade.py.
"""

from collections.abc import Iterator
from select import poll

import pytest

from rbln_supervisor.core.control.protocol import LEAVING, ErrorReply, Reply
from rbln_supervisor.upgrade import CHECK_TIMEOUT_S, UpgradeCheck


class Client:
    """A check, and the replies that it sent."""

    def __init__(self) -> None:
        self.replies: list[tuple[bytes, Reply]] = []
        self.check = UpgradeCheck(lambda requester, reply: self.replies.append((requester, reply)))

    def wait_for_end(self) -> None:
        while self.check.is_busy:
            poller = poll()
            for descriptor in self.check.descriptors:
                poller.register(descriptor)
            assert poller.poll(1000 * CHECK_TIMEOUT_S)
            self.check.poll_outcome(0.0)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.check.stop_and_wait()


def is_refused(reply: Reply) -> bool:
    return isinstance(reply, ErrorReply) and reply != LEAVING


def test_a_failed_check_gives_its_reasons_and_the_next_one_may_start(client: Client) -> None:
    for _ in range(2):
        client.check.request_upgrade(b"a")
        client.wait_for_end()
    assert [requester for requester, _ in client.replies] == [b"a", b"a"]
    for _, reply in client.replies:
        assert isinstance(reply, ErrorReply)
        assert len(reply.errors) > 1, "the text and the lines of the program"
    assert not client.check.is_ready


def test_a_second_request_is_refused_while_a_check_runs(client: Client) -> None:
    client.check.request_upgrade(b"a")
    client.check.request_upgrade(b"b")
    ((requester, reply),) = client.replies
    assert requester == b"b"
    assert is_refused(reply)
    client.wait_for_end()
    assert [one for one, _ in client.replies] == [b"b", b"a"]


def test_a_supervisor_that_stops_does_not_upgrade(client: Client) -> None:
    client.check.request_upgrade(b"a")
    client.check.stop_check()
    client.check.request_upgrade(b"b")
    client.wait_for_end()
    assert client.replies == [(b"a", LEAVING), (b"b", LEAVING)]
    assert not client.check.is_ready
