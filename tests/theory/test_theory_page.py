"""The numbers in the tables of docs/theory.md are those of results/reference/theory/."""

import re

import pandas as pd
import pytest

from medae.models.baselines import BASELINES
from medae.models.information import display_name

DATASETS = ["brain_tumor", "lgg", "pediatric_cxr", "phantom"]
LEAK_FREE = {"split": "leak_free", "metric": "auc"}
SETTINGS = {f"λ = {rate}": (f"entropy_ae_{rate}", 128) for rate in ("1e-5", "3e-5", "1e-4", "3e-4")}
SETTINGS |= {"AE, d = 16": ("ae", 16), "AE, d = 8": ("ae", 8)}


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/theory.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def results(root):
    folder = root / "results/reference/theory"
    return lambda name: pd.read_csv(folder / name, sep="\t")


def table(page, start):
    """Return the rows (lists of cells without emphasis) below the header that starts so."""
    lines = page[page.index(f"\n| {start}") + 1 :].split("\n\n")[0].splitlines()
    return [
        [cell.strip().replace("*", "") for cell in line.strip("|").split("|")] for line in lines[2:]
    ]


def selected(frame, **values):
    """Return the one row with these values."""
    own = frame[(frame[list(values)] == pd.Series(values)).all(axis=1)]
    assert len(own) == 1, values
    return own.iloc[0]


def test_entropies(page, results):
    entropy = results("tables/entropy.tsv")
    for (_, *cells), key in zip(table(page, "H(Z), Gaussian"), DATASETS, strict=True):
        for size, cell in zip((1, 2, 4, 8, 16, 32, 64, 128), cells, strict=True):
            row = selected(entropy, dataset=key, method="ae", latent_dim=size)
            assert cell == f"{row['gaussian_bits']:.1f} / {row['knn_bits']:.1f}"


def test_aucs_of_the_scores(page, results):
    scores = results("tables/scores.tsv").query("split == 'leak_free'")
    own = scores.query("method == 'ae' and latent_dim == 16")
    keys = {display_name(key): key for key in own["score"].unique()}
    pixels = ("ap_pix", "dice_max")
    *rows, best, chosen = table(page, "score | Brain Tumor")
    for name, *cells in rows:

        def percent(dataset, metric, key=keys[name]):
            row = selected(own, score=key, dataset=dataset, metric=metric)
            return f"{row['value_percent']:.1f}"

        assert cells[:4] == [percent(dataset, "auc") for dataset in DATASETS]
        assert cells[4] == " / ".join(percent("lgg", metric) for metric in pixels)
    matched = own.query("dataset == 'lgg' and metric == 'auc_matched'").set_index("score")
    control, information, mse = (
        f"{matched.loc[key, 'value_percent']:.1f}"
        for key in ("variance_w9", "information_w9", "squared_error")
    )
    assert f"control has {control}, information {information} and squared error {mse}." in page
    marked = own[(own["chosen"] == 1) & (own["metric"] == "auc")].set_index("dataset")
    assert chosen[1:5] == [f"{marked['value_percent'][dataset]:.1f}" for dataset in DATASETS]
    baselines = scores[scores["method"].isin(BASELINES) & scores["latent_dim"].isin([0, 16])]
    highest = baselines.groupby(["dataset", "metric"])["value_percent"].max()
    assert best[1:5] == [f"{highest[dataset, 'auc']:.1f}" for dataset in DATASETS]
    assert best[5] == " / ".join(f"{highest['lgg', metric]:.1f}" for metric in pixels)


def test_no_score_reaches_the_control_on_brain_tumor(page, results):
    rows = results("tables/scores.tsv").query("dataset == 'brain_tumor' and metric == 'auc'")
    rows = rows[(rows["split"] == "leak_free") & ~rows["method"].isin(BASELINES)]
    rows = rows[(rows["latent_dim"] == 16) | rows["method"].str.startswith("entropy_ae")]
    models = rows[~rows["score"].str.startswith("variance")]
    control = rows.query("score == 'variance_w9' and method == 'ae'")["value_percent"].item()
    assert f"({(models['value_percent'] > control).sum()} of {len(models)})" in page


def test_the_grid_of_rates(page, results):
    entropy, values = results("tables/entropy.tsv"), results("metrics.tsv")
    values = values[values["training_set"] == "all"]
    for name, *cells in table(page, "model | Brain Tumor"):
        method, size = SETTINGS[name]
        expected = []
        for dataset, splits in (("brain_tumor", ["leak_free", "published"]), ("phantom", [])):
            setting = {"dataset": dataset, "method": method, "latent_dim": size}
            row = selected(entropy, **setting)
            rate, stream = row["rate_test_bits"], row["stream_bits"]
            expected.append("–" if method == "ae" else f"{rate:.1f} / {stream:.1f}")
            assert method == "ae" or rate < stream < 1.04 * rate
            expected.append(f"{row['gaussian_bits']:.1f}")
            expected.append(f"{row['error_test_normal']:.4f}")
            aucs = [
                100 * selected(values, **setting, split=split, metric="auc")["value"]
                for split in splits or ["published"]
            ]
            expected.append(" / ".join(f"{auc:.1f}" for auc in aucs))
        assert cells == expected


def test_what_the_selectors_cost(page, results):
    selection = results("tables/selection.tsv")
    for name, *cells in table(page, "selector | Brain Tumor"):
        key = "by_lot" if name.startswith("at random") else re.findall("`(.*?)`", name)[0]
        own = selection[selection["selector"] == key]
        plain = own[own["score"] == "squared_error"].set_index("dataset").loc[DATASETS]
        for cell, (_, row) in zip(cells, plain.iterrows(), strict=False):
            size, _, regret = cell.rpartition(", ")
            assert regret == f"{row['regret_leak_free']:.1f}"
            assert (size or "0") == str(row["latent_dim"])
        assert cells[4] == f"{plain['regret_leak_free'].mean():.1f}"
        other = own[own["score"] != "squared_error"]
        assert len(other) == len(DATASETS)
        assert cells[5] == f"{other['regret_leak_free'].mean():.1f}"


def test_what_selectors_see(page, results):
    curves = results("selection/pediatric_cxr_curves.tsv").query("quantity == 'validation_error'")
    errors = curves.set_index("latent_dim")["value"]
    text = ", ".join(f"{errors[size]:.3f}" for size in (4, 8, 16, 32))
    assert f"({text} at d = 4, 8, 16, 32)" in page.replace("\n  ", " ")
    for dataset in ("brain_tumor", "lgg"):
        curves = results(f"selection/{dataset}_curves.tsv")
        scores = results(f"selection/{dataset}.tsv")["score"].unique()
        aucs = curves[curves["quantity"].isin([f"synthetic_auc:{score}" for score in scores])]
        assert aucs["value"].between(0.505, 0.545).all()


def test_factors(page, results):
    rows = results("tables/factors.tsv")
    assert f"it is {', '.join(map(str, rows['best_d']))}," in page.replace("\n  ", " ")
    for key in ("gaussian_bits", "knn_bits"):
        assert ", ".join(f"{bits:.1f}" for bits in rows[key]) in page.replace("\n  ", " ")
