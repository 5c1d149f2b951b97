"""Which training images are held out: groups are never cut, and nothing but the seed matters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medae.base.errors import InputError
from medae.theory.held_out import hold_out, image_components


@st.composite
def grouped(draw):
    """Copy groups and patients of 6 to 40 images, many of them alone."""
    count = draw(st.integers(6, 40))
    names = st.lists(st.integers(0, 2 * count), min_size=count, max_size=count)
    return np.array(draw(names)), np.array(draw(names))


def held_or_none(copies, patients, *, share=0.3, seed=0):
    try:
        return hold_out(copies, patients, share=share, seed=seed)
    except InputError:
        return None


def test_components_by_hand():
    copies = np.array([5, 5, 1, 2, 3, 3, 9])
    patients = np.array([10, 11, 11, 12, 13, 14, 15])
    assert image_components(copies, patients).tolist() == [0, 0, 0, 1, 2, 2, 3]


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
def test_no_group_is_on_both_sides(case, share, seed):
    held = held_or_none(*case, share=share, seed=seed)
    if held is None:
        return
    for groups in case:
        assert not set(groups[held].tolist()) & set(groups[~held].tolist())
    assert held.sum() >= 2
    assert (~held).sum() >= 2


@given(grouped(), st.integers(0, 1000))
def test_the_numbering_of_groups_does_not_matter(case, seed):
    copies, patients = case
    one = held_or_none(copies, patients, seed=seed)
    two = held_or_none(1000 - 3 * copies, 7 * patients, seed=seed)
    assert (one is None and two is None) or np.array_equal(one, two)


def test_the_share_is_met_by_single_images_and_the_seed_draws_them():
    alone = np.arange(50)
    drawn = [hold_out(alone, alone, share=0.2, seed=seed) for seed in (0, 0, 1)]
    assert [held.sum() for held in drawn] == [10, 10, 10]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_large_group_is_left_where_small_ones_do():
    copies = np.array([0] * 60 + list(range(1, 41)))
    for seed in range(20):
        held = hold_out(copies, np.arange(100), share=0.2, seed=seed)
        assert held.sum() == 20
        assert not held[:60].any()


@pytest.mark.parametrize(
    "copies", [[0, 0, 0, 0], [0, 1, 2], [0, 0, 0, 1]], ids=["one group", "few", "one alone"]
)
def test_too_few_groups(copies):
    with pytest.raises(InputError, match=f"the {len(copies)} training images can be held out"):
        hold_out(np.array(copies), np.arange(len(copies)), share=0.2, seed=0)
