"""What is promised of texts that are made of strangers' bytes."""

from collections.abc import Iterable
from typing import Final

LINE_MOST: Final = 4096
"""Characters of a line for people, with all that it repeats."""


def one_line(text: str) -> None:
    """It stands on one line of a terminal, steers none, and says something."""
    assert text
    assert text.isprintable(), ascii(text)
    assert len(text) <= LINE_MOST, len(text)


def lines(texts: Iterable[str], most: int) -> None:
    """Each is one, and there are no more of them."""
    several = tuple(texts)
    assert len(several) <= most, len(several)
    for text in several:
        one_line(text)


def page(text: str) -> None:
    """Nothing in it steers a terminal."""
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
