"""Log lines as JSON: one object a line, whatever is logged."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.process import log
from rbln_worker.process.log import setup_log


@contextmanager
def logging_to(tail: Path) -> Iterator[logging.Logger]:
    """A logger of this process whose lines are in a file; all is as it was afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    setup_log("who it is", logging.DEBUG, "json", tail)
    ours = root.handlers[:]
    root.handlers[:] = [ours[1]]  # not to standard error
    try:
        yield logging.getLogger("a.module")
    finally:
        root.handlers[:], root.level = before, level
        for handler in ours:
            assert isinstance(handler, log._Descriptor)
            if handler.fd != 2:
                os.close(handler.fd)


def read(path: Path) -> list[dict[str, object]]:
    return [
        json.loads(line, parse_constant=pytest.fail) for line in path.read_text().split("\n")[:-1]
    ]


def test_a_line_has_all_that_was_logged(tmp_path: Path) -> None:
    with logging_to(tmp_path / "l") as logger:
        logger.warning("so %s", "it is", extra={"pool": "a/b", "n": 3})
    (line,) = read(tmp_path / "l")
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "who": "who it is",
        "logger": "a.module",
        "message": "so it is",
        "pool": "a/b",
        "n": 3,
    }


def test_a_trace_stays_in_its_line(tmp_path: Path) -> None:
    with logging_to(tmp_path / "l") as logger:
        try:
            int("two\nlines")
        except ValueError:
            logger.exception("failed")
    (line,) = read(tmp_path / "l")
    assert str(line["trace"]).endswith("'two\\nlines'")


def test_facts_that_are_named_like_a_field_stand_beside_it(tmp_path: Path) -> None:
    with logging_to(tmp_path / "l") as logger:
        logger.info("m", extra={"time": "never", "who": "else", "level": 1, "trace": "t"})
    (line,) = read(tmp_path / "l")
    assert (line["who"], line["who_"], line["time_"], line["level_"]) == (
        *("who it is", "else", "never"),
        1,
    )


def test_last_words_are_an_object_too(tmp_path: Path) -> None:
    with logging_to(tmp_path / "l"):
        log.write_crash("Traceback\n  at\nValueError: x\n")
    (line,) = read(tmp_path / "l")
    assert (line["message"], line["level"]) == ("ValueError: x", "error")
    assert str(line["trace"]).startswith("Traceback")


def test_lines_that_were_left_out_are_told_of_in_an_object(tmp_path: Path) -> None:
    with logging_to(tmp_path / "l") as logger:
        (handler,) = logging.getLogger().handlers
        assert isinstance(handler, log._Descriptor)
        handler._left_out = 3
        logger.info("again")
    told, line = read(tmp_path / "l")
    assert "3 lines left out" in str(told["message"])
    assert line["message"] == "again"


ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.sets(st.integers())
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.text(), st.dictionaries(st.sampled_from(["a", "pool", "why", "time"]), ANY))
def test_whatever_is_logged_is_one_object_a_line(
    tmp_path_factory: pytest.TempPathFactory, text: str, extra: dict[str, object]
) -> None:
    place = tmp_path_factory.mktemp("l") / "l"
    with logging_to(place) as logger:
        logger.info("%s", text, extra=extra)
    (line,) = read(place)
    assert line["message"] == text
