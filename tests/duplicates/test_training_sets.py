"""Which training images are left without twins, and which at random for the control."""

import numpy as np
import pandas as pd
import pytest
from draw_training_set import draw_training_set
from hypothesis import given
from hypothesis import strategies as st
from packed_files import write_audit

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import PackedDataset
from medae.duplicates.held_out import check_enough
from medae.duplicates.training_sets import draw_training_rows, read_training_rows


@st.composite
def grouped(draw):
    """Copy groups of training and test images: (groups, n_train)."""
    n_train, n_test = draw(st.integers(1, 30)), draw(st.integers(1, 15))
    names = st.integers(0, draw(st.integers(1, 30)))
    count = n_train + n_test
    return np.array(draw(st.lists(names, min_size=count, max_size=count))), n_train


def rows_of(groups, n_train, training_set, seed=0):
    return draw_training_rows(groups, n_train=n_train, training_set=training_set, seed=seed)


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


def test_the_control_is_drawn_from_all_images_for_each_seed():
    groups = np.concatenate([np.arange(20), np.arange(10)])
    drawn = [rows_of(groups, 20, "without_random", seed) for seed in range(400)]
    assert {rows.sum() for rows in drawn} == {10}
    assert (np.abs(np.mean(drawn, axis=0) - 0.5) < 0.1).all()
    assert np.array_equal(drawn[3], rows_of(groups, 20, "without_random", 3))


# --- the table ---

IDS = ["1", "2", "c", "d", "e", "f"]
GROUPS = np.array([0, 1, 2, 1, 3, 4, 1, 5, 4])  # with three test images


def read(path, *, ids=IDS, seed=0):
    images = np.zeros((len(ids), 1, 16, 16), np.uint8)
    data = PackedDataset(images, ids, images, [], np.zeros(0), None, {"dataset": "toy"})
    return read_training_rows(path, data, training_set="a set", seed=seed).tolist()


@pytest.fixture
def draw(tmp_path):
    def drawn(training_set):
        write_audit(tmp_path / "images.tsv", IDS, ["x", "y", "z"], copy_group=GROUPS.tolist())
        options = {"training_set": training_set, "seeds": [0, 3], "table": tmp_path / "rows.tsv"}
        draw_training_set(images=tmp_path / "images.tsv", **options)
        return options["table"]

    return drawn


def test_what_is_read_is_what_was_drawn(draw):
    without = draw("without_twins")
    assert list(read_table(without).columns) == ["id", "seed0", "seed3"]
    assert read(without) == read(without, seed=3) == [True, False, True, False, True, False]
    control = draw("without_random")
    for seed in (0, 3):
        expected = rows_of(GROUPS, 6, "without_random", seed).tolist()
        assert read(control, seed=seed) == expected
    assert read(None) == [True] * 6


def test_the_table_of_other_images_or_seeds_is_refused(draw):
    path = draw("without_twins")
    for ids, seed in (([*IDS[:5], "x"], 0), (IDS, 1)):
        with pytest.raises(InputError, match=f"packed dataset 'toy' with seed {seed}"):
            read(path, ids=ids, seed=seed)


def test_a_training_set_of_one_image_is_refused(tmp_path):
    write_table(pd.DataFrame({"id": IDS, "seed0": [1, 0, 0, 0, 0, 0]}), tmp_path / "t.tsv")
    with pytest.raises(InputError, match="Of the 6 training images of 'toy' 1 are left"):
        read(tmp_path / "t.tsv")


def held_out_tables(tmp_path, **options):
    """60 training images, two of each of 30 patients, with copies across, of all training sets."""
    train = [f"train/p{i // 2}_{i}.png" for i in range(60)]
    test = [f"test/{i}.png" for i in range(6)]
    groups = [*range(60), *range(6)]  # six training images are in the test set
    groups[41] = 20
    write_audit(tmp_path / "images.tsv", train, test, copy_group=groups)
    shared = {"held_out": 0.4, "false_positive_rate": 0.05, "group_pattern": "(p[0-9]+)_"}
    shared |= {"images": tmp_path / "images.tsv", "seeds": [0, 1]} | options
    found = {}
    for name in ("all", "without_twins", "without_random"):
        path = tmp_path / f"{name}.tsv"
        draw_training_set(training_set=name, table=path, **shared)
        found[name] = read_table(path)
    return found


@pytest.mark.parametrize(("rate", "least"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1), (0.3, 3)])
def test_the_least_number_of_images_for_a_threshold(rate, least):
    check_enough(least, 100, rate=rate)
    with pytest.raises(InputError, match=rf"{least - 1} of 100 .* needs {least}\."):
        check_enough(least - 1, 100, rate=rate)


def test_patients_and_copies_are_held_out_whole_from_every_training_set(tmp_path):
    tables = held_out_tables(tmp_path)
    first = tables["all"]
    held = first["held_out"] == 1
    assert held.sum() == pytest.approx(0.4 * 60, abs=2)
    patients = first["id"].str.extract("(p[0-9]+)_")[0]
    assert (held.groupby(patients).nunique() == 1).all()
    assert held[20] == held[41]
    assert first.loc[[20, 21, 40, 41], "group"].nunique() == 1  # both patients share a copy
    assert (first["seed0"] == ~held).all()
    for table in tables.values():
        assert table["held_out"].equals(first["held_out"])
        assert not (table.loc[held, ["seed0", "seed1"]] == 1).any(axis=None)
    kept = [int(tables[name]["seed0"].sum()) for name in ("without_twins", "without_random")]
    assert kept[0] == kept[1] < int(first["seed0"].sum())


def test_too_few_held_out_images_are_refused_before_any_training(tmp_path):
    with pytest.raises(InputError, match=r"2[0-9] of 60 .* needs 99\. Raise decision\.held_out"):
        held_out_tables(tmp_path, false_positive_rate=0.01)
    assert not (tmp_path / "all.tsv").exists()
