"""Choices from a toy held-out dataset with scores made by hand."""

import numpy as np
import pandas as pd
import pytest
from packed_files import write_audit, write_packed
from select_latent_dim import HeldOutSet, select_latent_dim
from sklearn.metrics import roc_auc_score

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import read_packed
from medae.models.score_files import score_table
from medae.theory.entropy import estimate_dimension
from medae.theory.plan import CURVE_COLUMNS, SELECTION_COLUMNS
from medae.theory.synthetic import synthetic_id

NORMAL = [f"images/p{row // 2}_{row:02}.png" for row in range(24)]
KINDS = ["dark", "haze"]
TEST = sorted([*NORMAL, *(synthetic_id(kind, name) for kind in KINDS for name in NORMAL)])
LABELS = np.array([int(name.startswith("synthetic/")) for name in TEST])
PATTERN = r"(p\d+)_"
SIZES = [1, 4, 16]
ERRORS = [0.3, 0.1, 0.1]  # of the candidates
SHIFT = {  # of the anomalies' scores, of each candidate; the normal ones are 0 to 1
    "squared_error": [0.1, 0.2, 0.3],
    "information": [0.2, 3.0, 3.0],  # the best over all sizes
    "relative": [0.0, 0.0, 3.0],
}


def blank(count, side=8):
    return np.zeros((count, 1, side, side), np.uint8)


@pytest.fixture
def files(tmp_path):
    write_packed(tmp_path / "packed.h5", blank(2), blank(len(TEST)), LABELS, test_ids=TEST)
    data = read_packed(tmp_path / "packed.h5")
    write_audit(tmp_path / "audit.tsv", data.train_ids, TEST)
    # Images of three factors, and ten of them a second time.
    random = np.random.default_rng(0)
    waves = random.random((80, 3)) @ random.standard_normal((3, 64)) + 7 * random.random(64)
    train = np.round(127.5 + 127 * np.sin(waves)).astype(np.uint8).reshape(80, 1, 8, 8)
    train = np.concatenate([train, train[:10]])
    source = read_packed(write_packed(tmp_path / "source.h5", train, blank(2), [0, 1]))
    groups = [*range(80), *range(10), 90, 91]
    write_audit(tmp_path / "source.tsv", source.train_ids, source.test_ids, copy_group=groups)
    random = np.random.default_rng(0)
    level = random.uniform(0, 1, len(TEST))
    own = random.normal(0, 1e-3, len(TEST))
    for number, error in enumerate(ERRORS):
        errors = np.r_[9, 9, error + own * (number + 1)]
        values = {score: level + shift[number] * LABELS for score, shift in SHIFT.items()}
        plain = np.r_[0, 0, values.pop("squared_error")]
        table = score_table(data, scores=plain, errors=errors)
        write_table(table, tmp_path / f"scores{number}.tsv")
        others = pd.DataFrame({"id": TEST, "label": LABELS} | values)
        write_table(others, tmp_path / f"others{number}.tsv")
    return tmp_path


def run(files, sizes=SIZES, **changes):
    options = {
        "scores": [files / f"scores{number}.tsv" for number in range(len(sizes))],
        "others": [files / f"others{number}.tsv" for number in range(len(sizes))],
        "packed": files / "packed.h5",
        "audit": files / "audit.tsv",
        "source_packed": files / "source.h5",
        "source_audit": files / "source.tsv",
        "dataset": "toy",
        "latent_dims": sizes,
        "score_names": list(SHIFT),
        "group_pattern": PATTERN,
        "replicates": 200,
        "seed": 0,
    } | changes
    select_latent_dim(**options, selection=files / "s.tsv", curves=files / "c.tsv")
    return read_table(files / "s.tsv"), read_table(files / "c.tsv")


def test_choices(files):
    selection, _ = run(files)
    assert list(selection.columns) == SELECTION_COLUMNS
    chosen = selection.set_index(["score", "selector"])["latent_dim"]
    assert len(chosen) == 2 * 4 and set(selection["score"]) == {"squared_error", "information"}
    distinct = read_packed(files / "source.h5").train_images[:80]
    dimension = estimate_dimension(distinct.reshape(80, -1))
    assert 2 < dimension < 4
    reasons = selection.set_index("selector")["criterion"]["intrinsic_dimension"]
    assert set(reasons) == {f"intrinsic dimension {dimension:.1f}"}
    for score in ("squared_error", "information"):
        assert chosen[score, "one_standard_error"] == chosen[score, "intrinsic_dimension"] == 4
    assert chosen["squared_error", "synthetic_auc"] == 16
    assert chosen["information", "synthetic_auc"] == 4
    assert selection["criterion"].notna().all()
    assert set(selection["method"].dropna()) == set(selection["family"]) == {"ae"}


def test_curves(files):
    _, curves = run(files)
    assert list(curves.columns) == CURVE_COLUMNS
    values = curves.set_index(["latent_dim", "quantity"])["value"]
    assert values.index.is_unique
    for number, size in enumerate(SIZES):
        own, scores = values[size], read_table(files / f"others{number}.tsv")
        plain = read_table(files / f"scores{number}.tsv")["score"].iloc[2:]
        scores["squared_error"] = plain.to_numpy()
        for score in SHIFT:
            aucs = []
            for kind in KINDS:
                rows = (LABELS == 0) | scores["id"].str.contains(f"/{kind}/")
                aucs.append(roc_auc_score(LABELS[rows], scores.loc[rows, score]))
            assert own[f"synthetic_auc:{score}"] == pytest.approx(np.mean(aucs))
        assert "synthetic_auc_se:information" in own and "synthetic_auc_se:relative" not in own
        held_out = read_table(files / f"scores{number}.tsv").iloc[2:]
        errors = held_out.loc[held_out["label"] == 0, "reconstruction_error"]
        assert own["validation_error"] == pytest.approx(errors.mean())
        patients = errors.to_numpy().reshape(-1, 2).mean(axis=1)  # of two images each
        expected = patients.std(ddof=1) / np.sqrt(12)
        assert own["validation_error_se"] == pytest.approx(expected)


def test_the_first_of_equal_scores_is_preferred(files):
    for number in range(3):
        table = read_table(files / f"others{number}.tsv")
        write_table(table.assign(relative=table["information"]), files / f"others{number}.tsv")
    plain, *two = SHIFT
    for names in ([plain, *two], [plain, *two[::-1]], [plain]):
        assert list(run(files, score_names=names)[0]["score"].unique()) == names[:2]


def test_an_anomaly_is_in_the_group_of_its_original(files):
    data, audit = read_packed(files / "packed.h5"), read_table(files / "audit.tsv")
    images = HeldOutSet(data, audit, pattern=PATTERN)
    groups = dict(zip(TEST, images.groups, strict=True))
    for row, name in enumerate(NORMAL):
        assert {groups[synthetic_id(kind, name)] for kind in KINDS} == {groups[name]}
        assert groups[name] == groups[NORMAL[row // 2 * 2]]
    assert len(set(groups.values())) == 12
    assert len(set(HeldOutSet(data, audit, pattern=None).groups)) == 24
    assert {kind: rows.sum() for kind, rows in images.kinds.items()} == {"dark": 48, "haze": 48}


def test_scores_in_another_order_are_refused(files):
    table = read_table(files / "others0.tsv")
    write_table(table.iloc[::-1], files / "others0.tsv")
    with pytest.raises(InputError, match="order or repeats differ"):
        run(files)
