"""The range grammar: the reference's table, but for what is an error here."""

import re

import pytest

from rbln_supervisor.core.config.pf_ranges import FunctionSet, parse

SIX: frozenset[int] = frozenset(range(6))

# What the reference was seen to select of six VFs, for all texts that are well-formed.
SELECTED: dict[str, frozenset[int]] = {
    "pf": SIX,
    "PF": SIX,
    "other": frozenset(),
    "other#0": frozenset(),
    "pf#0": frozenset({0}),
    "pf#0-2": frozenset({0, 1, 2}),
    "pf#1,3-4": frozenset({1, 3, 4}),
    "pf#02": frozenset({2}),
    "pf#3,3,2-3": frozenset({2, 3}),
    "pf#4-4294967295": frozenset({4, 5}),
}

MALFORMED = (
    *("", "#", "#0", "pf#", "pf#x", "pf#0,x", "pf#x,0", "pf#0-x", "pf#x-0", "pf#-1", "pf#1-"),
    *("pf#0-1-2", "pf#0#1", "pf## ", "pf# 1", "pf#1 ", "pf#+2", "pf#1,", "pf#,1", "pf#1,,2"),
    *("pf#1_0", "pf#5-3", "pf#4294967296", "pf#0-" + "9" * 5000, "pf#\u0661", "pf#1\n", "pf#-"),
)


@pytest.mark.parametrize(("text", "selected"), SELECTED.items())
def test_what_is_selected_of_six_functions(text: str, selected: frozenset[int]) -> None:
    functions = FunctionSet([parse(text)])
    assert {index for index in SIX if functions.has_function("pf", index)} == selected


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_malformed_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse(text)


@pytest.mark.parametrize("entries", [("pf#0", "PF#3,4"), ("pf#3-4", "x", "pf#0"), ("pf#0,3,4",)])
def test_entries_for_one_pf_are_united(entries: tuple[str, ...]) -> None:
    functions = FunctionSet(map(parse, entries))
    assert {index for index in SIX if functions.has_function("pf", index)} == {0, 3, 4}


@pytest.mark.parametrize("entries", [("pf#0", "pf"), ("pf", "pf#0"), ("pf#1", "pf", "pf#0")])
def test_an_entry_without_ranges_is_all_of_them(entries: tuple[str, ...]) -> None:
    functions = FunctionSet(map(parse, entries))
    assert all(functions.has_function("pf", index) for index in (*SIX, None))


def test_a_function_without_a_number_is_in_no_range() -> None:
    assert not FunctionSet([parse("pf#0-4294967295")]).has_function("pf", None)
    assert FunctionSet([parse("pf")]).has_function("pf", None)


def test_without_a_pf_nothing_matches() -> None:
    assert not FunctionSet([parse("pf")]).has_function("", 0)
    assert not FunctionSet([]).has_function("pf", 0)
