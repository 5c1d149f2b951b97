"""The bootstrap of metrics over test images: groups, replicates, intervals and tests."""

import numpy as np
import pandas as pd
import pytest
from bootstrap_metrics import bootstrap_metrics
from packed_files import write_audit, write_maps, write_packed, write_scores
from sklearn.metrics import average_precision_score, roc_auc_score

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.groups import group_names, image_groups
from medae.data.known import UNKNOWN
from medae.evaluation import bootstrap
from medae.evaluation.bootstrap import (
    draw_weights,
    holm,
    paired_p_value,
    percentile_interval,
    replicate_images,
    replicate_pixels,
)
from medae.evaluation.ranking import pixel_metrics

# --- groups and weights ---


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"/(p\d+)_", [0, 1, 0, 2, 3, 4]),  # the last image is named like a group
        (r"(p\d+)", [0, 1, 0, 2, 3, 1]),
        (None, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_groups_by_pattern(pattern, groups):
    ids = ["a/p1_3.png", "b/p2_1.png", "b/p1_9.png", "b/other.png", "b/another.png", "p2"]
    assert image_groups(ids, pattern=pattern).tolist() == groups


def test_an_empty_name_is_no_patient():
    assert group_names(["a/p1_2.png", "a/_1.png"], pattern=r"/(p?\d*)_") == ["p1", None]


def weights_of(labels, groups=None, replicates=50, seed=0, **options):
    labels = np.array(labels)
    groups = np.arange(len(labels)) if groups is None else np.array(groups)
    return draw_weights(labels=labels, groups=groups, replicates=replicates, seed=seed, **options)


def test_classes_are_drawn_apart_when_groups_are_pure():
    labels, groups = [0, 1, 0, 0, 1, 1], [0, 1, 2, 2, 3, 3]
    weights = weights_of(labels, groups)
    assert (weights != weights_of(labels, groups, seed=1)).any()
    assert weights.shape == (50, 4)
    assert (weights[:, [0, 2]].sum(axis=1) == 2).all()
    assert (weights[:, [1, 3]].sum(axis=1) == 2).all()
    assert {tuple(row) for row in weights[:, [1, 3]].tolist()} == {(2, 0), (1, 1), (0, 2)}


def test_mixed_groups_are_drawn_together_and_replicates_without_a_class_again():
    labels, groups = [0, 0, 1, 0, 1], [0, 1, 2, 3, 3]
    weights = weights_of(labels, groups, replicates=300)
    assert (weights.sum(axis=1) == 4).all()
    assert len(set(weights[:, 0].tolist())) > 2  # not one of two normal groups every time
    abnormal = weights[:, 2] + weights[:, 3]
    normal = weights[:, 0] + weights[:, 1] + weights[:, 3]
    assert abnormal.min() == 1
    assert normal.min() == 1


def test_every_replicate_has_an_abnormal_pixel():
    weights = weights_of([0, 1, 1, 1], masked=np.array([False, False, True, False]))
    assert weights[:, 2].min() == 1


@pytest.mark.parametrize(
    ("labels", "masked", "name"),
    [
        ([0, 0], None, "abnormal"),
        ([1, 1], None, "normal"),
        ([0, 1], np.array([False, False]), "marked by its mask"),
    ],
)
def test_a_test_set_of_one_class_is_refused(labels, masked, name):
    with pytest.raises(InputError, match=f"None of the test images is {name}"):
        weights_of(labels, masked=masked)


# --- replicates of metrics ---


def test_image_replicates_equal_sklearn_with_weights(monkeypatch):
    monkeypatch.setattr(bootstrap, "BLOCK", 7)  # replicates are split into uneven blocks
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    scores = random.integers(0, 25, 60) / 7  # with ties
    groups = random.permutation(np.r_[np.arange(30), random.integers(0, 30, 30)])
    weights = weights_of(labels, groups, replicates=20)
    cases = {"labels": labels, "scores": scores, "groups": groups, "weights": weights}
    strata = random.integers(0, 3, 60)
    drawn = replicate_images(**cases, share=0.4, strata={"auc_matched": strata})
    assert set(replicate_images(**cases)) == {"auc", "ap"}
    of_images = weights[:, groups]
    aucs = [roc_auc_score(labels, scores, sample_weight=row) for row in of_images]
    aps = [average_precision_score(labels, scores, sample_weight=row) for row in of_images]
    np.testing.assert_allclose(drawn["auc"], aucs, rtol=1e-12)
    np.testing.assert_allclose(drawn["ap"], aps, rtol=1e-12)
    # Drawn abnormal images are 40 % of the weight in each replicate.
    for row, value in zip(of_images, drawn["ap_share"], strict=True):
        parts = {label: float(row[labels == label].sum()) for label in (0, 1)}
        shared = row.astype(float) * np.where(labels == 1, 0.4 / parts[1], 0.6 / parts[0])
        expected = average_precision_score(labels, scores, sample_weight=shared)
        assert value == pytest.approx(expected, rel=1e-9)
    # Drawn images, repeated, in pairs of one stratum.
    for row, value in zip(of_images.astype(int), drawn["auc_matched"], strict=True):
        copies = np.repeat(np.arange(60), row)
        abnormal, normal = (copies[labels[copies] == label] for label in (1, 0))
        alike = strata[abnormal][:, None] == strata[normal]
        differences = (scores[abnormal][:, None] - scores[normal])[alike]
        assert value == pytest.approx(np.mean((differences > 0) + (differences == 0) / 2))


def example_pixels(images=40, side=64, seed=0):
    """Maps that are higher in the masks, of half of the images; some masks are empty."""
    random = np.random.default_rng(seed)
    masks = np.zeros((images, side, side), dtype=np.uint8)
    for image in range(images // 2, images):
        row, column = random.integers(0, side // 2, 2)
        masks[image, row : row + image % (side // 2), column : column + side // 4] = 1
    maps = random.gamma(1, 0.02, size=masks.shape) * (1 + 4 * masks)
    return masks, maps.astype(np.float32)


@pytest.mark.parametrize("distinct", [None, 12])
def test_pixel_replicates_are_near_the_exact_metrics(distinct):
    """With few distinct values every value has a bin of its own."""
    masks, maps = example_pixels()
    tolerance = 1e-3
    if distinct:
        maps, tolerance = np.round(distinct * maps / maps.max()), 1e-6
    assert masks.sum() > 2 * bootstrap.BINS
    groups = np.append(np.arange(38), [36, 37])
    weights = weights_of(masks.any(axis=(1, 2)).astype(int), groups, replicates=4)
    weights[0] = 1
    drawn = replicate_pixels(masks=masks, maps=maps, groups=groups, weights=weights)
    for i, row in enumerate(weights[:, groups].astype(int)):
        copies = np.repeat(np.arange(40), row)
        exact = pixel_metrics(masks=masks[copies], maps=maps[copies], what="pixels")
        assert drawn["ap_pix"][i] == pytest.approx(exact["ap_pix"], abs=tolerance)
        assert drawn["dice_max"][i] == pytest.approx(exact["dice_max"], abs=tolerance)


# --- intervals and tests ---


def test_percentile_interval_by_hand():
    assert percentile_interval(np.arange(201.0)[::-1]) == pytest.approx((5, 195))


def test_p_value_by_hand():
    assert paired_p_value(np.array([1.0] * 18 + [-1.0])) == pytest.approx(2 * 2 / 20)
    assert paired_p_value(np.array([-1.0] * 18 + [1.0])) == pytest.approx(2 * 2 / 20)
    assert paired_p_value(np.full(99, 0.3)) == pytest.approx(2 / 100)
    assert paired_p_value(np.array([1.0] * 8 + [0.0])) == pytest.approx(2 * 2 / 10)
    assert paired_p_value(np.zeros(99)) == 1
    assert paired_p_value(np.array([1.0, -1.0])) == 1


def test_holm_by_hand():
    # 4 · 0.005, 3 · 0.01, then 2 · 0.03 and, not below it, 1 · 0.04
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]).tolist() == [1, 1]
    assert holm([0.2]).tolist() == [0.2]
    assert holm([]).tolist() == []


# --- bootstrap_metrics ---

LABELS = [0, 1, 0, 1, 0, 1, 1, 0]
TRAIN_IDS = ["train/a.png"]
IDS = [f"test/p{i // 2}_{i}.png" for i in range(8)]
REFERENCE = {"method": "ae", "latent_dim": 16, "score": "squared_error"}
MASKS = np.zeros((8, 16, 16), np.uint8)
MASKS[np.array(LABELS) == 1, 4:8, 4:9] = 1
SCORES = np.array([0.1, 0.4, 0.2, 0.15, 0.3, 0.9, 0.5, 0.45])
OTHER = np.array([0.3, 0.2, 0.4, 0.5, 0.1, 0.6, 0.35, 0.45])
IMAGE_METRICS = ["auc", "ap", "ap_share", "auc_matched", "auc_matched_local"]
COPIES = [3, 7, 3, 7, 4, 4, 9, 8]  # images 0 and 2, 1 and 3, 4 and 5 (of both classes)
TWINS = [1, 0, 0, 0, 1, 0, 1, 0]  # two normal images and an abnormal one


def random_maps(seed):
    return (np.random.default_rng(seed).random(MASKS.shape) + MASKS / 2).astype(np.float32)


class Run:
    """A dataset of eight test images, and the files of its settings."""

    def __init__(self, folder, masks=None, smooth=(1,) * 8):
        self.folder = folder
        self.settings, self.scores, self.others, self.maps = [], [], [], []
        images = np.zeros((8, 1, 16, 16), np.uint8)
        images[np.array(smooth) == 0, :, ::2] = 255  # lines: another stratum
        ids = {"train_ids": TRAIN_IDS, "test_ids": IDS}
        write_packed(folder / "packed.h5", images[:1], images, LABELS, masks=masks, **ids)
        self.audit()

    def audit(self, **columns):
        write_audit(self.folder / "images.tsv", TRAIN_IDS, IDS, **columns)

    def add(self, method, latent_dim, seed, scores, maps=None, **others):
        place = self.folder / f"{method}{latent_dim}-{seed}"
        self.settings.append({"method": method, "latent_dim": latent_dim, "seed": seed})
        self.scores.append(place / "scores.tsv")
        write_scores(self.scores[-1], TRAIN_IDS, IDS, LABELS, [9.0], scores)
        if others:
            self.others.append(place / "others.tsv")
            write_table(pd.DataFrame({"id": IDS, "label": LABELS} | others), self.others[-1])
        if maps is not None:
            self.maps.append(place / "maps.h5")
            write_maps(self.maps[-1], maps, IDS)

    def bootstrap(self, **options):
        defaults = {"reference": REFERENCE, "group_pattern": None, "replicates": 60, "seed": 3}
        bootstrap_metrics(
            scores=self.scores,
            others=self.others,
            maps=self.maps,
            packed=self.folder / "packed.h5",
            audit=self.folder / "images.tsv",
            dataset="xray",
            settings=self.settings,
            share=None,
            intervals=self.folder / "intervals.tsv",
            tests=self.folder / "tests.tsv",
            **defaults | options,
        )
        return read_table(self.folder / "intervals.tsv")


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    run.add("vae", 16, 0, SCORES**2)  # the order of the first run of the reference
    run.add("vae", 16, 1, OTHER * 3)
    run.add("ae", 16, 0, SCORES)
    run.add("ae", 16, 1, OTHER)
    run.add("ae", 4, 0, OTHER)
    return run


def test_the_table_of_intervals(run):
    table = run.bootstrap()
    assert list(table.columns) == bootstrap.INTERVAL_COLUMNS
    settings = [["vae", 16], ["ae", 16], ["ae", 4]]
    expected = [[*setting, metric] for setting in settings for metric in IMAGE_METRICS]
    assert table[["method", "latent_dim", "metric"]].to_numpy().tolist() == expected
    same = table[["dataset", "training_set", "split", "replicates", "n_groups"]].drop_duplicates()
    assert same.to_numpy().tolist() == [["xray", "all", "published", 60, 8]]  # no twins
    # SCORES: abnormal 0.4, 0.15, 0.9, 0.5 are above 3, 1, 4 and 4 of the four normal images.
    # OTHER: abnormal 0.2, 0.5, 0.6, 0.35 are above 1, 4, 4 and 2.
    assert table["value"][[5, 10]].tolist() == pytest.approx([11.5 / 16, 11 / 16])
    assert table["difference"][10] == pytest.approx(-0.5 / 16)
    assert table["value"].between(table["low"], table["high"]).all()
    tests = table[["difference", "difference_low", "difference_high", "p_value"]]
    assert tests.isna().all(axis=1).tolist() == [False] * 5 + [True] * 5 + [False] * 5
    # Equal rankings differ by nothing.
    assert (tests.loc[:4] == [0, 0, 0, 1]).all(axis=None)


@pytest.mark.parametrize(
    ("smooth", "known"),
    [([0, 0, 0, 0, 0, 0, 1, 1], True), ([0, 0, 0, 1, 1, 0, 1, 1], False), (LABELS, False)],
)
def test_auc_within_strata_of_the_whole_test_set(smooth, known, tmp_path):
    """It is left out where a replicate, or the test set, has no pair of like images."""
    run = Run(tmp_path, smooth=smooth)
    run.add("ae", 16, 0, SCORES)
    rows = run.bootstrap().set_index("metric")
    assert ("auc_matched" in rows.index) == ("auc_matched_local" in rows.index) == known
    if known:
        # With lines: 0.4, 0.15, 0.9 are above 3, 1 and 3 of 0.1, 0.2, 0.3; 0.5 is above 0.45.
        assert rows["value"]["auc_matched"] == pytest.approx(8 / 10)
        weights = draw_weights(labels=np.array(LABELS), groups=np.arange(8), replicates=60, seed=3)
        expected = []
        for row in weights.astype(int):
            drawn = np.repeat(np.arange(8), row)
            pairs = [(a, n) for a in drawn for n in drawn if LABELS[a] > LABELS[n]]
            right = [SCORES[a] > SCORES[n] for a, n in pairs if smooth[a] == smooth[n]]
            expected.append(np.mean(right))
        found = rows.loc["auc_matched", ["low", "high"]].tolist()
        assert found == pytest.approx(percentile_interval(np.array(expected)))


def test_patients_are_the_groups_where_they_are_known(run):
    run.audit(copy_group=[5] * 8)
    table = run.bootstrap(group_pattern=r"/(p\d)_")
    assert set(table["n_groups"]) == {4}


def brute_force(scores, kept, replicates):
    """The published or leak-free AUCs, image by image, for draws of whole copy groups."""
    labels, scores, groups = (np.array(values)[kept] for values in (LABELS, scores, COPIES))
    names = sorted(set(groups))
    numbered = np.array([names.index(group) for group in groups])
    weights = draw_weights(labels=labels, groups=numbered, replicates=replicates, seed=3)
    copies = [np.repeat(np.arange(len(labels)), row[numbered].astype(int)) for row in weights]
    # Rounded, so that equal ones are: differences of 0 count on both sides.
    return np.round([roc_auc_score(labels[rows], scores[rows]) for rows in copies], 12)


def test_both_splits_by_copy_groups_equal_a_brute_force(run):
    """Seeds are averaged within a replicate, and settings are paired."""
    run.audit(twin=TWINS, copy_group=COPIES)
    table = run.bootstrap().query("metric == 'auc'")
    for split, kept, groups in (
        ("published", np.ones(8, dtype=bool), 5),
        ("leak_free", np.array(TWINS) == 0, 4),
    ):
        rows = table[table["split"] == split].set_index(["method", "latent_dim"])
        first, second = (brute_force(scores, kept, 60) for scores in (SCORES, OTHER))
        expected = percentile_interval((first + second) / 2)
        assert rows.loc[("ae", 16), ["low", "high"]].tolist() == pytest.approx(expected)
        differences = second - (first + second) / 2
        expected = percentile_interval(differences)
        found = rows.loc[("ae", 4), ["difference_low", "difference_high"]].tolist()
        assert found == pytest.approx(expected)
        assert rows["p_value"]["ae", 4] == pytest.approx(paired_p_value(differences))
        assert set(rows["n_groups"]) == {groups}
    # Without twins are the abnormal 0.4, 0.15, 0.9 and the normal 0.2, 0.45: 3 of 6 pairs are
    # right. OTHER: the abnormal 0.2, 0.5, 0.6 and the normal 0.4, 0.45: 4 of 6.
    value = table.query("split == 'leak_free' and latent_dim == 16 and method == 'ae'")["value"]
    assert value.item() == pytest.approx((3 / 6 + 4 / 6) / 2)


def test_other_scores_are_tested_against_squared_error_the_best_control_and_pca(tmp_path):
    run = Run(tmp_path)
    run.audit(twin=TWINS, copy_group=COPIES)
    better = SCORES + np.array(LABELS) / 4
    run.add("ae", 16, 0, SCORES, information=better)
    run.add("ae", 16, 1, OTHER, information=better[::-1])
    run.add("nearest", 0, 0, LABELS)  # perfect, but it reconstructs: no control
    run.add("pca", 16, 0, LABELS, information=SCORES)
    run.add("vae", 4, 0, SCORES, information=better)
    run.add("contrast", 0, 0, -SCORES)
    run.add("total_variation", 0, 0, OTHER)
    run.bootstrap()
    table = read_table(tmp_path / "tests.tsv")
    assert list(table.columns) == bootstrap.TEST_COLUMNS
    assert set(table["score"]) == {"information"}
    linear = table[table["method"] == "pca"]
    other_size = table[table["method"] == "vae"]
    assert set(linear["against"]) == set(other_size["against"])
    assert set(linear["against"]) == {"squared_error", "total_variation"}
    table = table.query("metric == 'auc' and method == 'ae'").set_index(["split", "against"])
    assert table.index.tolist() == [
        (split, against)
        for split in ("published", "leak_free")
        for against in ("squared_error", "total_variation", "pca")
    ]
    for split, kept in (("published", np.ones(8, bool)), ("leak_free", np.array(TWINS) == 0)):
        score = (brute_force(better, kept, 60) + brute_force(better[::-1], kept, 60)) / 2
        plain = (brute_force(SCORES, kept, 60) + brute_force(OTHER, kept, 60)) / 2
        found = [score - plain, score - brute_force(OTHER, kept, 60)]
        corrected = [*holm([paired_p_value(differences) for differences in found])]
        found.append(np.round(score - brute_force(SCORES, kept, 60), 12))  # not of that family
        corrected.append(paired_p_value(found[-1]))
        for against, differences, p_holm in zip(
            table.loc[split].index, found, corrected, strict=True
        ):
            row = table.loc[split, against]
            assert (row["low"], row["high"]) == pytest.approx(percentile_interval(differences))
            assert row["p_holm"] == pytest.approx(p_holm)


def test_all_are_tested_against_the_score_of_the_reference(tmp_path):
    run = Run(tmp_path)
    run.audit(copy_group=COPIES)
    run.add("ae", 16, 0, SCORES, information=SCORES**2 + np.array(LABELS) / 4)
    run.add("contrast", 0, 0, OTHER)
    table = run.bootstrap(reference=REFERENCE | {"score": "information"})
    found = table.query("metric == 'auc' and split == 'published'").set_index(["method", "score"])
    reference = brute_force(SCORES**2 + np.array(LABELS) / 4, np.ones(8, bool), 60)
    for key, scores in (("ae", "squared_error"), SCORES), (("contrast", "image"), OTHER):
        differences = brute_force(scores, np.ones(8, bool), 60) - reference
        row = found.loc[key]
        expected = percentile_interval(differences)
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(expected)
        assert row["p_value"] == pytest.approx(paired_p_value(differences))
    assert np.isnan(found["difference"]["ae", "information"])


def test_without_the_reference_there_are_no_tests(run):
    table = run.bootstrap(reference=REFERENCE | {"latent_dim": 64})
    assert table[["difference", "p_value"]].isna().all(axis=None)
    assert table["low"].notna().all()


def test_pixel_metrics_of_both_splits_and_of_baselines(tmp_path):
    run = Run(tmp_path, MASKS)
    run.audit(twin=TWINS)
    run.add("ae", 16, 0, SCORES, random_maps(0))
    run.add("nearest", 0, 0, OTHER, random_maps(1))
    run.add("contrast", 0, 0, OTHER)
    run.add("intensity", 0, 0, SCORES, random_maps(2))
    run.maps.reverse()  # they are found beside the scores
    table = run.bootstrap()
    measured = table.groupby(["method", "split"])["metric"].agg(list).to_dict()
    everything = [*IMAGE_METRICS, "ap_pix", "dice_max"]
    for split, kept in (("published", slice(None)), ("leak_free", np.array(TWINS) == 0)):
        assert measured["ae", split] == measured["nearest", split] == everything
        assert measured["contrast", split] == IMAGE_METRICS
        assert measured["intensity", split] == ["ap_pix", "dice_max"]
        exact = pixel_metrics(masks=MASKS[kept], maps=random_maps(2)[kept], what="pixels")
        rows = table[(table["split"] == split) & (table["method"] == "intensity")]
        assert rows["value"].tolist() == pytest.approx([exact["ap_pix"], exact["dice_max"]])
        assert (rows["low"] < rows["high"]).all()
    assert table.loc[table["method"] != "ae", "p_value"].notna().all()


def test_replicates_leave_out_images_whose_mask_is_not_known():
    random = np.random.default_rng(0)
    masks = random.integers(0, 2, (6, 4, 4)).astype(np.uint8)
    maps = random.integers(0, 9, masks.shape).astype(np.float32)
    weights = random.integers(0, 3, (20, 6))
    known = [0, 1, 3, 4, 5]
    expected = replicate_pixels(
        masks=masks[known], maps=maps[known], groups=np.arange(5), weights=weights[:, known]
    )
    masks[2] = UNKNOWN
    found = replicate_pixels(masks=masks, maps=maps, groups=np.arange(6), weights=weights)
    for metric, values in expected.items():
        np.testing.assert_allclose(found[metric], values)
