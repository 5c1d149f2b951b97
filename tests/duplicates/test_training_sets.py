"""Which training images are left without twins, and which by lot for the control."""

import numpy as np
import pandas as pd
import pytest
from draw_training_set import draw_training_set
from hypothesis import given
from hypothesis import strategies as st

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import PackedDataset
from medae.duplicates.training_sets import (
    TRAINING_SETS,
    draw_training_rows,
    in_other_split,
    read_training_rows,
)


@st.composite
def grouped(draw):
    """Copy groups of training and test images: (groups, n_train)."""
    n_train, n_test = draw(st.integers(1, 30)), draw(st.integers(1, 15))
    names = st.integers(0, draw(st.integers(1, 30)))
    count = n_train + n_test
    return np.array(draw(st.lists(names, min_size=count, max_size=count))), n_train


def rows_of(groups, n_train, training_set, seed=0):
    return draw_training_rows(groups, n_train=n_train, training_set=training_set, seed=seed)


def test_in_other_split_by_hand():
    groups = np.array([0, 1, 1, 2, 7, 1, 3, 3, 7])
    expected = [False, True, True, False, True, True, False, False, True]
    assert in_other_split(groups, n_train=5).tolist() == expected


@given(grouped())
def test_nothing_is_left_that_is_in_a_group_with_a_test_image(case):
    groups, n_train = case
    rows = rows_of(groups, n_train, "without_twins")
    train, test = groups[:n_train], set(groups[n_train:].tolist())
    assert rows.tolist() == [group not in test for group in train.tolist()]


@given(grouped(), st.integers(0, 1000))
def test_the_control_cuts_no_group_and_leaves_out_as_many_where_it_can(case, seed):
    groups, n_train = case
    train = groups[:n_train]
    wanted = int((~rows_of(groups, n_train, "without_twins")).sum())
    rows = rows_of(groups, n_train, "without_random", seed)
    for group in set(train.tolist()):
        assert len(set(rows[train == group].tolist())) == 1
    left_out = int((~rows).sum())
    assert left_out <= wanted
    kept_sizes = np.unique(train[rows], return_counts=True)[1]
    assert left_out == wanted or (kept_sizes > wanted - left_out).all()  # none of them fits


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 1000))
def test_numbers_are_equal_where_training_has_no_copies(n_train, n_twins, seed):
    groups = np.concatenate([np.arange(n_train), np.arange(min(n_twins, n_train)), [-1]])
    left = [rows_of(groups, n_train, name, seed).sum() for name in TRAINING_SETS[1:]]
    assert left[0] == left[1] == n_train - min(n_twins, n_train)


def test_the_control_depends_on_the_seed_and_only_on_it():
    groups = np.concatenate([np.arange(100), np.arange(30)])
    drawn = [rows_of(groups, 100, "without_random", seed) for seed in (0, 0, 1, 2)]
    assert [rows.sum() for rows in drawn] == [70] * 4
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[2], drawn[3])
    twins = [rows_of(groups, 100, "without_twins", seed) for seed in (0, 1)]
    assert np.array_equal(*twins)


def test_the_control_is_drawn_from_all_images():
    groups = np.concatenate([np.arange(20), np.arange(10)])
    left_out = np.zeros(20)
    for seed in range(400):
        left_out += ~rows_of(groups, 20, "without_random", seed)
    assert (np.abs(left_out / 400 - 0.5) < 0.1).all()


def test_without_twins_nothing_is_left_out():
    groups = np.arange(12)
    assert rows_of(groups, 8, "without_twins").all()
    assert rows_of(groups, 8, "without_random").all()


def test_an_unknown_training_set_is_refused():
    with pytest.raises(ValueError, match="no training set to draw: 'all'"):
        rows_of(np.arange(4), 2, "all")


# --- the table ---


def truth(train_ids):
    images = np.zeros((len(train_ids), 1, 16, 16), np.uint8)
    return PackedDataset(images, train_ids, images, [], np.zeros(0), None, {"dataset": "toy"})


@pytest.fixture
def drawn(tmp_path):
    audit = pd.DataFrame(
        {
            "split": ["train"] * 6 + ["test"] * 3,
            "id": ["1", "2", "c", "d", "e", "f", "x", "y", "z"],
            "copy_group": [0, 1, 2, 1, 3, 4, 1, 5, 4],
        }
    )
    write_table(audit, tmp_path / "images.tsv")
    for training_set in ("without_twins", "without_random"):
        draw_training_set(
            images=tmp_path / "images.tsv",
            training_set=training_set,
            seeds=[0, 3],
            output=tmp_path / f"{training_set}.tsv",
        )
    return tmp_path


def test_the_table_by_hand(drawn):
    table = read_table(drawn / "without_twins.tsv")
    assert list(table.columns) == ["id", "seed0", "seed3"]
    assert table["id"].tolist() == ["1", "2", "c", "d", "e", "f"]
    assert table["seed0"].tolist() == table["seed3"].tolist() == [1, 0, 1, 0, 1, 0]


def test_reading_gives_what_was_drawn(drawn):
    data = truth(["1", "2", "c", "d", "e", "f"])
    for seed in (0, 3):
        rows = read_training_rows(
            drawn / "without_random.tsv", data, training_set="without_random", seed=seed
        )
        groups = np.array([0, 1, 2, 1, 3, 4, 1, 5, 4])
        assert rows.tolist() == rows_of(groups, 6, "without_random", seed).tolist()
        assert rows.sum() == 3
    assert read_training_rows(None, data, training_set="all", seed=0).tolist() == [True] * 6


def test_the_table_of_other_images_or_seeds_is_refused(drawn):
    path = drawn / "without_twins.tsv"
    for ids, seed in ((["1", "2", "c", "d", "e", "x"], 0), (["1", "2", "c", "d", "e", "f"], 1)):
        with pytest.raises(InputError, match=f"packed dataset 'toy' with seed {seed}"):
            read_training_rows(path, truth(ids), training_set="without_twins", seed=seed)


def test_a_training_set_of_one_image_is_refused(tmp_path):
    table = pd.DataFrame({"id": ["a", "b", "c"], "seed0": [1, 0, 0]})
    write_table(table, tmp_path / "t.tsv")
    with pytest.raises(InputError, match="Of the 3 training images of 'toy' 1 are left"):
        read_training_rows(
            tmp_path / "t.tsv", truth(["a", "b", "c"]), training_set="without_twins", seed=0
        )
