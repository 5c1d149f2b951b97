"""The audit: nearest images, calibration, copy groups and counts, against plain brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import PackedDataset
from medae.duplicates import audit, similarity
from medae.duplicates.audit import (
    IMAGE_COLUMNS,
    Nearest,
    Pairs,
    calibrate,
    copy_groups,
    find_pairs,
    identical_groups,
    leak_free,
    read_audit,
    threshold_counts,
)
from medae.duplicates.similarity import comparable, move, similarities


def noise(count, side=16, seed=0):
    """Random images: uncorrelated, as images of different things are."""
    return np.random.default_rng(seed).integers(0, 200, (count, 1, side, side), dtype=np.uint8)


def pairs_of(*edges, similarity=1.0):
    first, second = np.array(edges, dtype=int).reshape(-1, 2).T
    values = np.broadcast_to(np.asarray(similarity, dtype=np.float32), first.shape)
    return Pairs(first, second, values, np.zeros(len(first), dtype=np.uint8))


def square(images, *, moved=True):
    """Return similarities and symmetries of all pairs, [moved image, other one]."""
    best = np.zeros((len(images), len(images)))
    symmetry = np.zeros(best.shape, dtype=int)
    for row, image in enumerate(images):
        for number in range(8 if moved else 1):
            values = (images * move(image, number)).sum(axis=(1, 2))
            better = values > best[row] if number else np.ones(len(images), dtype=bool)
            best[row, better], symmetry[row, better] = values[better], number
    return best, symmetry


# --- nearest ---


@pytest.mark.parametrize("block", [1, 4, 9, 100])
def test_nearest_equals_brute_force(block, monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", block)
    images = noise(13)
    for source, target, number in ((0, 9, 5), (3, 11, 6), (12, 1, 1)):
        images[target] = move(images[source], number) // 2 + 20
    compared = comparable(images)
    allowed = np.random.default_rng(1).random((13, 13)) < 0.5
    allowed |= allowed.T
    allowed &= ~np.eye(13, dtype=bool)
    allowed[[9, 0], [0, 9]] = allowed[[3, 11], [11, 3]] = allowed[[12, 1], [1, 12]] = True
    allowed[5] = allowed[:, 5] = False
    nearest = Nearest.of(13)
    for found in similarities(compared):
        nearest.update(found, found.best, allowed[found.rows, found.rows.start :])
    best, symmetry = square(compared)
    best = np.where(allowed, best, -1)
    expected = best.argmax(axis=1)
    expected[5] = -1
    assert nearest.position.tolist() == expected.tolist()
    np.testing.assert_allclose(nearest.similarity, best.max(axis=1), atol=1e-6)
    known = np.flatnonzero(expected >= 0)
    assert nearest.symmetry[known].tolist() == symmetry[known, expected[known]].tolist()
    assert nearest.position[[0, 9, 3, 11, 12, 1]].tolist() == [9, 0, 11, 3, 1, 12]
    # The copy is the source rotated by 90°; what leads back to the source is 270°.
    assert nearest.symmetry[[0, 9, 3, 11]].tolist() == [5, 6, 6, 5]


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("block", [3, 100])
def test_find_pairs_equals_brute_force(block, moved, monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", block)
    images, n_train = noise(14), 6
    images[8] = move(images[2], 7)
    images[9] = images[3]
    images[12] = move(images[11], 2)
    compared = comparable(images)
    best, symmetry = square(compared, moved=moved)
    values = np.sort(best[np.triu_indices(14, k=1)])[:70]
    widest = np.diff(values).argmax()
    floor = float(values[widest : widest + 2].mean())  # in a gap, where rounding decides nothing
    pairs, nearest, unmoved = find_pairs(compared, n_train=n_train, floor=floor, moved=moved)
    expected = {(i, j) for i in range(14) for j in range(i + 1, 14) if best[i, j] >= floor}
    assert set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == expected
    assert len(pairs.first) == len(expected)
    np.testing.assert_allclose(pairs.similarity, best[pairs.first, pairs.second], atol=1e-6)
    assert pairs.symmetry.tolist() == symmetry[pairs.first, pairs.second].tolist()
    test = np.arange(14) >= n_train
    across = test[:, None] != test[None]
    assert nearest.position.tolist() == np.where(across, best, -1).argmax(axis=1).tolist()
    still, _ = square(compared, moved=False)
    np.testing.assert_allclose(unmoved, np.where(across, still, -1).max(axis=1), atol=1e-6)


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(audit, "MAX_PAIRS", 10)
    images = np.repeat(noise(1), 6, axis=0)
    with pytest.raises(InputError, match="More than 10 pairs of images"):
        find_pairs(comparable(images), n_train=3, floor=0.9, moved=True)


def test_pairs_at_least():
    pairs = pairs_of((0, 1), (1, 2), (2, 3), similarity=[0.99, 0.98, 1.0])
    kept = pairs.at_least(np.float32(0.99))
    assert (kept.first.tolist(), kept.second.tolist()) == ([0, 2], [1, 3])
    assert kept.similarity.tolist() == pytest.approx([0.99, 1.0])


# --- calibration ---


def with_similarity(images, source, target, wanted, seed):
    """Replace a comparable image by one with the similarity `wanted` to another one."""
    other = noise(1, seed=seed)[0, 0].astype(np.float64)
    other -= other.mean()
    base = images[source].astype(np.float64)
    other -= (other * base).sum() * base
    other /= np.linalg.norm(other)
    images[target] = wanted * base + np.sqrt(1 - wanted**2) * other


def hand_made():
    """Images 0-5 of patients A A B B C C, normal but for the last; 6 and 7 of D, abnormal."""
    images = comparable(noise(8))
    with_similarity(images, 0, 1, 0.97, seed=1)  # same patient: does not count
    with_similarity(images, 2, 4, 0.90, seed=2)  # B and C: the highest of other patients
    with_similarity(images, 0, 3, 0.9995, seed=3)  # A and B: a copy whatever the ids say
    with_similarity(images, 2, 6, 0.98, seed=4)  # abnormal: does not count
    patients = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    return images, labels, patients


def test_calibration_by_hand():
    images, labels, patients = hand_made()
    highest, threshold = calibrate(
        images, labels=labels, patients=patients, configured=0.999, moved=True
    )
    assert highest[2] == highest[4] == pytest.approx(0.90, abs=1e-5)
    assert np.isnan(highest[6:]).all()
    # 1 has 0.97 with 0 of its patient, and 0.97 * 0.9995 with 0's copy, of another one.
    assert highest[1] == highest[3] == pytest.approx(0.97 * 0.9995, abs=0.02)
    assert highest[0] < 0.97
    assert threshold > highest[:6].max()  # fewer than 1 in 1000 of six images is none
    assert threshold == pytest.approx(highest[:6].max(), abs=1e-6)


def test_calibration_equals_brute_force():
    images = comparable(noise(40, seed=5))
    random = np.random.default_rng(6)
    labels, patients = random.integers(0, 2, 40), random.integers(0, 7, 40)
    best, _ = square(images)
    configured = float(np.quantile(best[np.triu_indices(40, k=1)], 0.95))
    highest, threshold = calibrate(
        images, labels=labels, patients=patients, configured=configured, moved=True
    )
    counted = patients[:, None] != patients[None]
    counted &= (labels == 0)[:, None] & (labels == 0)[None] & (best < configured)
    expected = np.where(counted.any(axis=1), np.where(counted, best, -1).max(axis=1), np.nan)
    np.testing.assert_allclose(highest, expected, atol=1e-6)
    assert threshold == pytest.approx(np.nanmax(expected), abs=1e-6)


def test_one_normal_image_in_a_thousand_reaches_the_threshold():
    images = comparable(noise(2500, side=16, seed=7))
    labels, patients = np.zeros(2500, dtype=int), np.arange(2500)
    highest, threshold = calibrate(
        images, labels=labels, patients=patients, configured=0.999, moved=False
    )
    assert np.count_nonzero(highest >= threshold) <= 0.001 * 2500
    below = np.sort(highest)[-4]  # a lower threshold would let more than two of 2500 reach it
    assert threshold > below
    assert np.count_nonzero(highest >= np.nextafter(np.float32(threshold), np.float32(0))) > 2


@pytest.mark.parametrize(
    ("labels", "patients"), [([0, 0, 0], [1, 1, 1]), ([0, 1, 1], [0, 1, 2]), ([1, 1, 1], [0, 1, 2])]
)
def test_no_two_patients_no_calibration(labels, patients):
    highest, threshold = calibrate(
        comparable(noise(3)),
        labels=np.array(labels),
        patients=np.array(patients),
        configured=0.999,
        moved=True,
    )
    assert threshold is None
    assert np.isnan(highest).all()


# --- groups ---


def components(count, edges):
    """Number connected components by first appearance, by spreading the lowest number."""
    groups = list(range(count))
    for _ in range(count):
        for one, other in edges:
            groups[one] = groups[other] = min(groups[one], groups[other])
    numbers = {}
    return [numbers.setdefault(group, len(numbers)) for group in groups]


@given(st.data())
def test_copy_groups_are_connected_components(data):
    count = data.draw(st.integers(1, 12))
    place = st.integers(0, count - 1)
    edges = data.draw(st.lists(st.tuples(place, place).filter(lambda e: e[0] < e[1])))
    same = np.array([min(data.draw(place), i) for i in range(count)])
    every = [*edges, *((int(one), i) for i, one in enumerate(same))]
    assert copy_groups(pairs_of(*edges), same=same).tolist() == components(count, every)


def test_groups_without_pairs():
    assert copy_groups(pairs_of(), same=np.arange(3)).tolist() == [0, 1, 2]


def test_identical_groups():
    images = noise(5)
    images[3] = images[1]
    images[4] = images[1]
    images[2] = move(images[0], 1)
    assert identical_groups(images).tolist() == [0, 1, 2, 1, 1]


# --- counts ---


def brute_counts(table, edges, same, threshold):
    """The counts at one threshold, image by image; `edges` are (i, j, similarity)."""
    count = len(table)
    train = [split == "train" for split in table["split"]]
    equal = [{j for j in range(count) if same[j] == same[i] and j != i} for i in range(count)]
    copies = [set(others) for others in equal]
    for one, other, value in edges:
        if value >= threshold:
            copies[one].add(other)
            copies[other].add(one)
    pairs = [(i, j) for i in range(count) for j in copies[i]]
    groups = components(count, pairs)
    members = [[i for i in range(count) if groups[i] == name] for name in set(groups)]
    kinds = {
        "test_normal": [i for i in range(count) if not train[i] and table["label"][i] == 0],
        "test_abnormal": [i for i in range(count) if table["label"][i] == 1],
        "train": [i for i in range(count) if train[i]],
    }
    row = {"threshold": threshold}
    for ending, column in (("", "similarity"), ("_unmoved", "unmoved_similarity")):
        for kind, members_of in kinds.items():
            row[f"{kind}{ending}"] = sum(
                bool(table[column][i] >= threshold or table["identical"][i]) for i in members_of
            )
    for name, part in (("train", True), ("test", False)):
        row[f"{name}_copies"] = sum(
            train[i] == part and any(train[j] == part for j in copies[i]) for i in range(count)
        )
    row["copy_groups"] = sum(len(group) > 1 for group in members)
    row["train_in_groups"] = sum(
        train[i] and any(not train[j] for j in group) for group in members for i in group
    )
    return row


@given(st.integers(0, 2**32 - 1))
def test_threshold_counts_equal_brute_force(seed):
    random = np.random.default_rng(seed)
    count, n_train = int(random.integers(2, 12)), int(random.integers(1, 9))
    n_train = min(n_train, count - 1)
    chosen = [(i, j) for i in range(count) for j in range(i + 1, count) if random.random() < 0.2]
    values = random.choice([0.985, 0.992, 0.9995], len(chosen)).astype(np.float32)
    still = np.where(random.random(len(chosen)) < 0.5, values, np.float32(0.5))
    same = identical_groups(random.integers(0, 2 * count, count))
    table = pd.DataFrame(
        {"split": ["train"] * n_train + ["test"] * (count - n_train), "similarity": 0.1}
    ).assign(unmoved_similarity=0.1, identical=0, label=0)
    table.loc[n_train:, "label"] = random.integers(0, 2, count - n_train)
    for (i, j), value, unmoved in zip(chosen, values, still, strict=True):
        if i < n_train <= j:
            for at in (i, j):
                table.loc[at, "similarity"] = max(value, table.loc[at, "similarity"])
                table.loc[at, "unmoved_similarity"] = max(
                    unmoved, table.loc[at, "unmoved_similarity"]
                )
    for i in range(count):
        across = [j for j in range(count) if (i < n_train) != (j < n_train)]
        table.loc[i, "identical"] = int(any(same[j] == same[i] for j in across))
    thresholds = [0.98, 0.99, 0.999]
    edges = [(i, j, v) for (i, j), v in zip(chosen, values, strict=True)]
    counts = threshold_counts(
        table, pairs_of(*chosen, similarity=values), thresholds=thresholds, same=same
    )
    expected = [brute_counts(table, edges, same, threshold) for threshold in thresholds]
    assert counts.to_dict("records") == expected


# --- reading ---


def toy(folder, **changes):
    table = pd.DataFrame(dict.fromkeys(IMAGE_COLUMNS, 0), index=range(5))
    table = table.assign(split=["train"] * 2 + ["test"] * 3, id=["a", "1", "b", "c", "d"])
    write_table(table.assign(twin=[1, 0, 0, 1, 0]).assign(**changes), folder / "images.tsv")
    truth = PackedDataset(
        train_images=np.zeros((2, 1, 16, 16), np.uint8),
        train_ids=["a", "1"],
        test_images=np.zeros((3, 1, 16, 16), np.uint8),
        test_ids=["b", "c", "d"],
        test_labels=np.array([0, 0, 1], np.uint8),
        test_masks=None,
        attributes={"dataset": "toy"},
    )
    return folder / "images.tsv", truth


def test_leak_free_images_are_those_without_a_twin(tmp_path):
    assert leak_free(read_audit(*toy(tmp_path))).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "changes", [{"id": ["a", "1", "b", "c", "x"]}, {"id": ["1", "a", "b", "c", "d"]}, {"new": 0}]
)
def test_the_audit_of_other_images_is_refused(tmp_path, changes):
    with pytest.raises(InputError, match="is not the audit of this packed dataset 'toy'"):
        read_audit(*toy(tmp_path, **changes))
