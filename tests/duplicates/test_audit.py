"""The audit: nearest images, calibration, copy groups and counts, against plain brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_files import write_audit, write_packed

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import read_packed
from medae.duplicates import audit, similarity
from medae.duplicates.audit import (
    calibrate,
    copy_groups,
    find_pairs,
    identical_groups,
    leak_free,
    read_audit,
    threshold_counts,
)
from medae.duplicates.similarity import comparable, move


def noise(count, side=16, seed=0):
    """Random images: uncorrelated, as images of different things are."""
    return np.random.default_rng(seed).integers(0, 200, (count, 1, side, side), dtype=np.uint8)


def pairs_of(*edges, similarity=1.0):
    first, second = np.array(edges, dtype=int).reshape(-1, 2).T
    pairs = pd.DataFrame({"first": first, "second": second, "symmetry": 0})
    return pairs.assign(similarity=np.float32(similarity))


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


# --- pairs ---


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("block", [3, 100])
def test_find_pairs_equals_brute_force(block, moved, monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", block)
    images, n_train = noise(14), 6
    images[8] = move(images[2], 5) // 2 + 20
    images[9] = images[3]
    images[12] = move(images[11], 2)
    compared = comparable(images)
    best, symmetry = square(compared, moved=moved)
    values = np.sort(best[np.triu_indices(14, k=1)])[:70]
    widest = np.diff(values).argmax()
    floor = float(values[widest : widest + 2].mean())  # in a gap, where rounding decides nothing
    pairs, nearest, unmoved = find_pairs(compared, n_train=n_train, floor=floor, moved=moved)
    expected = [(i, j) for i in range(14) for j in range(i + 1, 14) if best[i, j] >= floor]
    assert sorted(pairs[["first", "second"]].itertuples(index=False, name=None)) == expected
    first, second = pairs["first"], pairs["second"]
    np.testing.assert_allclose(pairs["similarity"], best[first, second], atol=1e-6)
    assert pairs["symmetry"].tolist() == symmetry[first, second].tolist()
    test = np.arange(14) >= n_train
    across = test[:, None] != test[None]
    position = np.where(across, best, -1).argmax(axis=1)
    assert nearest.position.tolist() == position.tolist()
    assert nearest.symmetry.tolist() == symmetry[np.arange(14), position].tolist()
    np.testing.assert_allclose(nearest.similarity, best[np.arange(14), position], atol=1e-6)
    still, _ = square(compared, moved=False)
    np.testing.assert_allclose(unmoved, np.where(across, still, -1).max(axis=1), atol=1e-6)
    if moved:  # the copy is the source rotated by 90°; what leads back is 270°
        assert (nearest.position[[2, 8]] == [8, 2]).all()
        assert nearest.symmetry[[2, 8]].tolist() == [5, 6]


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(audit, "MAX_PAIRS", 10)
    images = np.repeat(noise(1), 6, axis=0)
    with pytest.raises(InputError, match="More than 10 pairs of images"):
        find_pairs(comparable(images), n_train=3, floor=0.9, moved=True)


# --- calibration ---


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


# --- counts ---


def brute_counts(audit, similar, same, threshold):
    """The counts at one threshold, image by image; `similar` are the similarities of all pairs."""
    images = range(len(audit))
    test = audit["split"] == "test"
    copies = [
        {j for j in images if j != i and (similar[i, j] >= threshold or same[i] == same[j])}
        for i in images
    ]
    groups = components(len(audit), [(i, j) for i in images for j in copies[i]])
    row = {"threshold": threshold}
    kinds = (test & (audit["label"] == 0), test & (audit["label"] == 1), ~test)
    for ending, column in (("", "similarity"), ("_unmoved", "unmoved_similarity")):
        found = (audit[column] >= threshold) | (audit["identical"] == 1)
        for kind, part in zip(("test_normal", "test_abnormal", "train"), kinds, strict=True):
            row[f"{kind}{ending}"] = sum(found[i] and part[i] for i in images)
    for name, part in (("train", ~test), ("test", test)):
        row[f"{name}_copies"] = sum(part[i] and any(part[j] for j in copies[i]) for i in images)
    row["copy_groups"] = sum(groups.count(group) > 1 for group in set(groups))
    tested = {groups[i] for i in images if test[i]}
    row["train_in_groups"] = sum(not test[i] and groups[i] in tested for i in images)
    return row


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_threshold_counts_equal_brute_force(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 12))
    n_train = int(random.integers(1, count))
    test = np.arange(count) >= n_train
    same = identical_groups(random.integers(0, 2 * count, count))
    similar, still = random.choice([0.1, 0.1, 0.985, 0.9995], (2, count, count)).astype("f4")
    similar, still = np.maximum(similar, similar.T), np.minimum(similar, still)
    across = test[:, None] != test
    audit = pd.DataFrame(
        {
            "split": np.where(test, "test", "train"),
            "label": test * random.integers(0, 2, count),
            "similarity": np.where(across, similar, -1).max(axis=1),
            "unmoved_similarity": np.where(across, still, -1).max(axis=1),
            "identical": (across & (same[:, None] == same)).any(axis=1).astype(int),
        }
    )
    first, second = np.triu_indices(count, k=1)
    pairs = pairs_of(*zip(first, second, strict=True), similarity=similar[first, second])
    thresholds = [0.98, 0.99, 0.999]
    counts = threshold_counts(audit, pairs, thresholds=thresholds, same=same)
    expected = [brute_counts(audit, similar, same, threshold) for threshold in thresholds]
    assert counts.to_dict("records") == expected


# --- reading ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ["a", "1", "b", "c", "x"]}, "is not the audit of this packed dataset 'toy'"),
        ({"id": ["1", "a", "b", "c", "d"]}, "is not the audit of this packed dataset 'toy'"),
        ({"new": 0}, "has the columns"),
    ],
)
def test_the_audit_of_other_images_is_refused(tmp_path, changes, message):
    images, ids = noise(3), {"train_ids": ["a", "1"], "test_ids": ["b", "c", "d"]}
    truth = read_packed(write_packed(tmp_path / "p.h5", images[:2], images, [0, 0, 1], **ids))
    path = tmp_path / "images.tsv"
    write_audit(path, *ids.values(), twin=[0, 1, 0])
    assert leak_free(read_audit(path, truth)).tolist() == [True, False, True]
    write_table(read_table(path).assign(**changes), path)
    with pytest.raises(InputError, match=message):
        read_audit(path, truth)
