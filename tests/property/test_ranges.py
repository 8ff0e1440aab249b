"""The range grammar: what is read is what was written, and selects what the reference selects."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.pf_ranges import (
    MAX_NUMBER,
    FunctionSet,
    PfRange,
    Range,
    parse,
)

PF = st.text(min_size=1, max_size=16).filter(lambda text: "#" not in text)
NUMBER = st.integers(0, 9) | st.integers(0, MAX_NUMBER)
RANGE = st.tuples(NUMBER, NUMBER).map(lambda ends: Range(min(ends), max(ends)))
FUNCTIONS = st.builds(PfRange, PF, st.none() | st.lists(RANGE, min_size=1, max_size=5).map(tuple))


@given(FUNCTIONS)
def test_what_is_written_is_read(functions: PfRange) -> None:
    assert parse(str(functions)) == functions


@given(st.text(alphabet="pf#0123456789-,+ _x\u0663"))
def test_a_text_is_right_or_malformed_and_keeps_its_meaning(text: str) -> None:
    try:
        functions = parse(text)
    except ValueError:
        return
    assert parse(str(functions)) == functions
    for index in range(-1, 12):
        ours = FunctionSet([functions]).has_function("pf", index if index >= 0 else None)
        assert ours == _as_the_reference(text, "pf", index)


@given(st.lists(FUNCTIONS, max_size=4), st.integers(0, 9))
def test_the_order_of_entries_has_no_meaning(entries: list[PfRange], index: int) -> None:
    for pf in {entry.pf for entry in entries}:
        there = FunctionSet(entries).has_function(pf, index)
        assert there == FunctionSet(reversed(entries)).has_function(pf, index)
        assert there == any(FunctionSet([entry]).has_function(pf, index) for entry in entries)


def _as_the_reference(text: str, pf: str, index: int) -> bool:
    """Of a text whose items are well-formed; an index of -1 is none."""
    name, mark, items = text.partition("#")
    if name.lower() != pf:
        return False
    if not mark:
        return True
    for item in items.split(","):
        first, _, last = item.partition("-")
        if int(first) <= index <= int(last or first):
            return True
    return False
