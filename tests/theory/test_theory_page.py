"""The numbers in the tables of docs/theory.md are those of results/reference/theory/."""

import re

import pandas as pd
import pytest

from medae.models.baselines import BASELINES
from medae.models.information import display_name

DATASETS = ["brain_tumor", "lgg", "pediatric_cxr", "phantom"]


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/theory.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def results(root):
    folder = root / "results/reference/theory/tables"
    return lambda name: pd.read_csv(folder / f"{name}.tsv", sep="\t")


def table(page, start):
    """Return the rows (lists of cells without emphasis) below the header that starts so."""
    lines = page[page.index(f"\n| {start}") + 1 :].split("\n\n")[0].splitlines()
    return [
        [cell.strip().replace("*", "") for cell in line.strip("|").split("|")] for line in lines[2:]
    ]


def shown(*values):
    return " / ".join(f"{value:.1f}" for value in values)


def test_entropies(page, results):
    values = results("entropy").query("method == 'ae'").set_index(["dataset", "latent_dim"])
    values = values[["gaussian_bits", "knn_bits"]]
    for (_, *cells), key in zip(table(page, "H(Z), Gaussian"), DATASETS, strict=True):
        assert cells == [shown(*values.loc[key, 2**power]) for power in range(8)]


def test_scores(page, results):
    values = results("scores").query("split == 'leak_free' and latent_dim in (0, 16)")
    values = values.set_index(["dataset", "metric"])
    own = values.query("method == 'ae'")
    rows = {display_name(score): part["value_percent"] for score, part in own.groupby("score")}
    baselines = values[values["method"].isin(BASELINES)]["value_percent"]
    rows["best baseline without a network"] = baselines.groupby(level=[0, 1]).max()
    rows["chosen without labels"] = own.query("chosen == 1")["value_percent"]
    for name, *cells in table(page, "score | Brain Tumor"):
        aucs = [shown(rows[name][dataset, "auc"]) for dataset in DATASETS]
        pixels = (rows[name]["lgg", metric] for metric in ("ap_pix", "dice_max"))
        assert cells == [*aucs, shown(*pixels)]


def test_the_grid_of_rates(page, results):
    values = results("entropy").set_index(["dataset", "method", "latent_dim"])
    splits = {"brain_tumor": ["auc_leak_free", "auc_published"], "phantom": ["auc_published"]}
    for name, *cells in table(page, "model | Brain Tumor"):
        kind, number = name.split(" = ")
        plain = kind == "AE, d"
        model = ("ae", int(number)) if plain else (f"entropy_ae_{number}", 128)
        expected = []
        for dataset, aucs in splits.items():
            row = values.loc[dataset, *model]
            expected.append("–" if plain else shown(row["rate_test_bits"], row["stream_bits"]))
            expected += [shown(row["gaussian_bits"]), f"{row['error_test_normal']:.4f}"]
            expected.append(shown(*100 * row[aucs]))
        assert cells == expected


def test_what_the_selectors_cost(page, results):
    rows = results("selection").set_index("selector")
    for name, *cells in table(page, "selector | Brain Tumor"):
        own = rows.loc["by_lot" if name.startswith("at random") else re.findall("`(.*?)`", name)[0]]
        plain, other = (own[own["score"].eq("squared_error") == same] for same in (True, False))
        expected = [
            f"{row.latent_dim}, {row.regret_leak_free:.1f}".removeprefix("0, ")
            for row in plain.set_index("dataset").loc[DATASETS].itertuples()
        ]
        means = [shown(part["regret_leak_free"].mean()) for part in (plain, other)]
        assert cells == [*expected, *means]


def test_factors(page, results):
    rows, text = results("factors"), " ".join(page.split())
    assert f"it is {', '.join(map(str, rows['best_d']))}, and" in text
    for key in ("gaussian_bits", "knn_bits"):
        assert ", ".join(map(shown, rows[key])) in text
