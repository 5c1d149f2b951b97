"""Selection tables from a toy validation dataset with scores made by hand."""

import numpy as np
import pandas as pd
import pytest
from select_settings import (
    CURVE_COLUMNS,
    SELECTION_COLUMNS,
    ValidationSet,
    choose,
    choose_score,
    select_settings,
)

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import packed_writer, read_packed
from medae.duplicates.audit import IMAGE_COLUMNS
from medae.models.score_files import score_table
from medae.theory.held_out import synthetic_id
from medae.theory.selectors import AucEstimate

NORMAL = [f"images/p{row // 2}_{row:02}.png" for row in range(24)]
KINDS = ["dark", "haze"]
TEST = sorted([*NORMAL, *(synthetic_id(kind, name) for kind in KINDS for name in NORMAL)])
TRAIN = ["images/a.png", "images/b.png"]
PATTERN = r"(p\d+)_"
CANDIDATES = [{"family": "ae", "method": "ae", "latent_dim": d, "more": 1} for d in (1, 4, 16)]
CANDIDATES += [
    {"family": "entropy_ae", "method": f"entropy_ae_{rate}", "latent_dim": 128, "more": 1}
    for rate in ("1e-3", "1e-4")
]
ERRORS = [0.3, 0.1, 0.1, 0.2, 0.1]  # of the candidates
SHIFT = {  # of the anomalies' scores, of each candidate; the normal ones are 0 to 1
    "mse": [0.1, 0.2, 0.3, 0.5, 0.2],
    "ncc": [0.2, 3.0, 3.0, 0.1, 0.1],  # the best over all sizes of the AE
    "relative": [0.0, 0.0, 3.0, 3.0, 3.0],
}


@pytest.fixture
def files(tmp_path):
    size = 8
    labels = [int(name.startswith("synthetic/")) for name in TEST]
    with packed_writer(
        tmp_path / "packed.h5",
        channels=1,
        image_size=size,
        train_ids=TRAIN,
        test_ids=TEST,
        test_labels=labels,
        masks=False,
    ) as writer:
        for split, ids in (("train", TRAIN), ("test", TEST)):
            writer.append(split, np.zeros((len(ids), 1, size, size), np.uint8))
        texts = ("dataset", "modality", "layout", "source", "source_sha256", "resize_filter")
        writer.attributes |= dict.fromkeys(texts, "toy")
        writer.attributes |= {"intensity_range": "null", "identical_train_test": 0}
    data = read_packed(tmp_path / "packed.h5")
    audit = pd.DataFrame({name: "" for name in IMAGE_COLUMNS}, index=range(2 + len(TEST)))
    audit["split"] = ["train"] * 2 + ["test"] * len(TEST)
    audit["id"] = [*TRAIN, *TEST]
    audit["copy_group"] = np.arange(len(audit))
    write_table(audit, tmp_path / "audit.tsv")
    random = np.random.default_rng(0)
    level = random.uniform(0, 1, len(TEST))
    own = dict(zip(TEST, random.normal(0, 1e-3, len(TEST)), strict=True))
    paths = {"scores": [], "variants": []}
    for number, error in enumerate(ERRORS):
        errors = error + np.array([own[name] for name in TEST]) * (number + 1)
        table = score_table(data, scores=np.zeros(2 + len(TEST)), errors=np.r_[9, 9, errors])
        write_table(table, tmp_path / f"scores{number}.tsv")
        variants = pd.DataFrame({"split": "test", "id": TEST, "label": labels})
        for score, shift in SHIFT.items():
            variants[score] = level + shift[number] * data.test_labels
        write_table(variants, tmp_path / f"variants{number}.tsv")
        paths["scores"].append(tmp_path / f"scores{number}.tsv")
        paths["variants"].append(tmp_path / f"variants{number}.tsv")
    dimension = pd.DataFrame({"quantity": ["twonn", "mle", "n_images"], "value": [2.5, 3.5, 99]})
    write_table(dimension, tmp_path / "dimension.tsv")
    return tmp_path, paths


def run(files, **changes):
    folder, paths = files
    options = {
        **paths,
        "packed": folder / "packed.h5",
        "audit": folder / "audit.tsv",
        "dimension": folder / "dimension.tsv",
        "dataset": "toy",
        "candidates": CANDIDATES,
        "score_names": list(SHIFT),
        "group_pattern": PATTERN,
        "replicates": 200,
        "seed": 0,
    } | changes
    select_settings(**options, selection=folder / "s.tsv", curves=folder / "c.tsv")
    return read_table(folder / "s.tsv"), read_table(folder / "c.tsv")


def test_choices(files):
    selection, _ = run(files)
    assert list(selection.columns) == SELECTION_COLUMNS
    chosen = selection.set_index(["family", "selector", "score"])[["method", "latent_dim"]]
    assert chosen.index.is_unique
    assert len(chosen) == 2 * 5 * 2
    assert set(selection["score"]) == {"mse", "ncc"}
    for score in ("mse", "ncc"):
        for selector in ("one_standard_error", "intrinsic_dimension"):
            assert tuple(chosen.loc["ae", selector, score]) == ("ae", 4)
        assert chosen.loc[("entropy_ae", "one_standard_error", score), "method"] == (
            "entropy_ae_1e-4"
        )
        for selector in ("intrinsic_dimension", "combined", "knee"):
            row = chosen.loc["entropy_ae", selector, score]
            assert row.isna()["method"] and row["latent_dim"] == 0
    assert tuple(chosen.loc["ae", "synthetic_auc", "mse"]) == ("ae", 16)
    assert tuple(chosen.loc["ae", "synthetic_auc", "ncc"]) == ("ae", 4)
    assert tuple(chosen.loc["ae", "combined", "ncc"]) == ("ae", 4)
    assert chosen.loc[("entropy_ae", "synthetic_auc", "mse"), "method"] == "entropy_ae_1e-3"
    assert selection["criterion"].notna().all()
    assert set(selection["dataset"]) == {"toy"}


def test_curves(files):
    _, curves = run(files)
    assert list(curves.columns) == CURVE_COLUMNS
    values = curves.set_index(["method", "latent_dim", "quantity"])["value"]
    assert values.index.is_unique
    data = read_packed(files[0] / "packed.h5")
    for candidate, table in zip(CANDIDATES, files[1]["variants"], strict=True):
        own = values.loc[candidate["method"], candidate["latent_dim"]]
        scores = read_table(table)
        for score in SHIFT:
            parts = [own[f"synthetic_auc_{kind}:{score}"] for kind in KINDS]
            assert own[f"synthetic_auc:{score}"] == pytest.approx(np.mean(parts))
            normal = scores.loc[data.test_labels == 0, score].to_numpy()
            haze = scores.loc[scores["id"].str.contains("/haze/"), score].to_numpy()
            above = (haze[:, None] > normal).mean() + (haze[:, None] == normal).mean() / 2
            assert parts[1] == pytest.approx(above)
        assert ("synthetic_auc_se:ncc" in own) and ("synthetic_auc_se:relative" not in own)
        held_out = read_table(files[1]["scores"][CANDIDATES.index(candidate)]).iloc[2:]
        errors = held_out.loc[held_out["label"] == 0, "reconstruction_error"]
        assert own["validation_error"] == pytest.approx(errors.mean())
        patients = errors.to_numpy().reshape(-1, 2).mean(axis=1)  # of two images each
        expected = patients.std(ddof=1) / np.sqrt(12)
        assert own["validation_error_se"] == pytest.approx(expected)


def test_equal_runs_write_equal_bytes(files):
    made = []
    for _ in range(2):
        run(files)
        made.append([(files[0] / name).read_bytes() for name in ("s.tsv", "c.tsv")])
    assert made[0] == made[1]


def test_the_plain_score_alone_makes_one_row_per_selector(files):
    selection, _ = run(files, score_names=["mse"])
    assert set(selection["score"]) == {"mse"}
    assert len(selection) == 2 * 5


def test_one_candidate(files):
    paths = {key: value[:1] for key, value in files[1].items()}
    selection, _ = run(files, **paths, candidates=CANDIDATES[:1], score_names=["mse"])
    chosen = selection.set_index("selector")["latent_dim"]
    assert chosen.to_dict() == {
        "one_standard_error": 1,
        "knee": 0,
        "intrinsic_dimension": 0,
        "synthetic_auc": 1,
        "combined": 0,
    }


def test_an_anomaly_is_in_the_group_of_its_original(files):
    data = read_packed(files[0] / "packed.h5")
    audit = read_table(files[0] / "audit.tsv")
    images = ValidationSet(data, audit, pattern=PATTERN)
    groups = dict(zip(TEST, images.groups, strict=True))
    for row, name in enumerate(NORMAL):
        assert {groups[synthetic_id(kind, name)] for kind in KINDS} == {groups[name]}
        assert groups[name] == groups[NORMAL[row // 2 * 2]]
    assert len(set(groups.values())) == 12
    assert len(set(ValidationSet(data, audit, pattern=None).groups)) == 24
    assert {kind: rows.sum() for kind, rows in images.kinds.items()} == {"dark": 48, "haze": 48}


def test_the_first_of_equal_scores_is_chosen():
    aucs = [{"a": {"x": 0.5, "y": 0.7}, "b": {"x": 0.7, "y": 0.5}, "c": {"x": 0.1, "y": 0.9}}]
    assert choose_score(aucs) == "a"
    aucs = [{"a": {"x": 0.9}, "b": {"x": 0.1}}, {"a": {"x": 0.1}, "b": {"x": 1.0}}]
    assert choose_score(aucs) == "b"


def test_candidates_that_do_not_ascend_are_refused():
    auc = AucEstimate(np.array([0.5, 0.6]), np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match="do not ascend"):
        choose(np.zeros((4, 2)), np.arange(4), auc=auc, dims=np.array([4, 1]), estimate=2.0)


def test_bad_inputs(files):
    folder, paths = files
    with pytest.raises(InputError, match="variants0.tsv has no column wrong"):
        run(files, score_names=["mse", "wrong"])
    table = read_table(paths["variants"][0])
    write_table(table.iloc[::-1], paths["variants"][0])
    with pytest.raises(InputError, match="is about other images"):
        run(files)
    write_table(table.assign(mse=np.nan), paths["variants"][0])
    with pytest.raises(InputError, match="not finite"):
        run(files)
    write_table(pd.DataFrame({"quantity": ["n_images"], "value": [9]}), folder / "dimension.tsv")
    write_table(table, paths["variants"][0])
    with pytest.raises(InputError, match="no intrinsic dimension"):
        run(files)
    scores = read_table(paths["scores"][0])
    write_table(scores.assign(reconstruction_error=np.nan), paths["scores"][0])
    with pytest.raises(InputError, match="no finite reconstruction error"):
        run(files)
