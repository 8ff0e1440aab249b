"""Exit codes in words."""

import pytest

from rbln_worker.contract.exits import Exit, exit_meaning


def test_only_success_is_zero() -> None:
    assert [code for code in Exit if code == 0] == [Exit.DRAINED]


@pytest.mark.parametrize("code", [0, 3, 255, -9, 10**9])
def test_a_code_that_says_nothing_has_no_words(code: int) -> None:
    assert exit_meaning(code) == ""


def test_one_that_does_has() -> None:
    assert exit_meaning(75) == " (another worker holds the pool's lock)"
