"""RSD groups of any node: what is used by others stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.core.dra.rsd import (
    DEFAULT_GROUP,
    GroupPlan,
    Groups,
    RsdError,
    orphan_groups,
    parse_group_file,
    plan_group,
)
from tests.fuzz.claims import one_line

NPUS = tuple(f"rbln{number}" for number in range(8))
names = st.sampled_from(NPUS)


@st.composite
def nodes(draw: st.DrawFn) -> Groups:
    by_npu = draw(st.fixed_dictionaries(dict.fromkeys(NPUS, st.integers(0, 5))))
    return {
        group: frozenset(npu for npu in NPUS if by_npu[npu] == group)
        for group in sorted(set(by_npu.values()))
    }


@given(nodes(), st.frozensets(names, min_size=1), st.frozensets(names))
def test_a_plan_touches_no_group_with_a_member_in_use(
    groups: Groups, wanted: frozenset[str], in_use: frozenset[str]
) -> None:
    obstacles = wanted & in_use or any(
        members & wanted and members & in_use
        for group, members in groups.items()
        if group != DEFAULT_GROUP
    )
    if obstacles:
        with pytest.raises(RsdError):
            plan_group(sorted(wanted), groups, frozenset(NPUS) - in_use)
        return
    plan = plan_group(sorted(wanted), groups, frozenset(NPUS) - in_use)
    after = {group: set(members) for group, members in groups.items() if group not in plan.stale}
    assert all(not groups[group] & in_use for group in plan.stale)
    if plan.exists:
        assert after[plan.group] == wanted
        return
    assert plan.group not in groups
    others = {group: members for group, members in after.items() if group != DEFAULT_GROUP}
    assert not any(members & wanted for members in others.values())


@given(nodes(), st.frozensets(names, min_size=1))
def test_a_plan_carried_out_is_found_again(groups: Groups, wanted: frozenset[str]) -> None:
    plan = plan_group(sorted(wanted), groups, NPUS)
    after: dict[int, frozenset[str]] = {
        group: members - wanted for group, members in groups.items() if group not in plan.stale
    }
    after[plan.group] = wanted
    assert plan_group(sorted(wanted), after, NPUS) == GroupPlan(plan.group, exists=True)
    assert orphan_groups(after, wanted) == {plan.group: wanted}
    assert plan.group not in orphan_groups(after, sorted(wanted)[1:])


@given(st.text())
def test_any_text_is_groups_or_a_failure_of_one_line(text: str) -> None:
    try:
        found = parse_group_file(text)
    except RsdError as error:
        one_line(str(error))
    else:
        assert all(group >= 0 and members for group, members in found.items())
