"""Which training images are held out: groups are never cut, and nothing but the seed matters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medae.base.errors import InputError
from medae.duplicates.held_out import hold_out, image_components


@st.composite
def grouped(draw):
    """Copy groups and patients of 6 to 40 images, many of them alone."""
    count = draw(st.integers(6, 40))
    names = st.lists(st.integers(0, 2 * count), min_size=count, max_size=count)
    return np.array(draw(names)), np.array(draw(names))


@given(grouped())
def test_components_are_the_closure_of_both_groupings(case):
    copies, patients = case
    expected = np.arange(len(copies))
    changed = True
    while changed:  # brute force: spread the lowest number
        before = expected.copy()
        for groups in case:
            for name in set(groups.tolist()):
                expected[groups == name] = expected[groups == name].min()
        changed = not np.array_equal(before, expected)
    found = image_components(copies, patients)
    assert np.array_equal(found[:, None] == found, expected[:, None] == expected)


@given(grouped(), st.floats(0.05, 0.6), st.integers(0, 1000))
def test_no_group_is_on_both_sides_whatever_its_number(case, share, seed):
    copies, patients = case
    try:
        held = hold_out(copies, patients, share=share, seed=seed)
    except InputError:
        return
    for groups in case:
        assert not set(groups[held].tolist()) & set(groups[~held].tolist())
    assert held.sum() >= 2
    assert (~held).sum() >= 2
    again = hold_out(1000 - 3 * copies, 7 * patients, share=share, seed=seed)
    assert np.array_equal(held, again)


def test_the_share_is_met_by_small_groups_and_the_seed_draws_them():
    copies = np.array([0] * 60 + list(range(1, 41)))
    drawn = [hold_out(copies, np.arange(100), share=0.2, seed=seed) for seed in range(20)]
    for held in drawn:
        assert held.sum() == 20
        assert not held[:60].any()
    assert len({held.tobytes() for held in drawn}) > 1


@pytest.mark.parametrize(
    "copies", [[0, 0, 0, 0], [0, 1, 2], [0, 0, 0, 1]], ids=["one group", "few", "one alone"]
)
def test_too_few_groups(copies):
    with pytest.raises(InputError, match=f"the {len(copies)} training images can be held out"):
        hold_out(np.array(copies), np.arange(len(copies)), share=0.2, seed=0)
