"""The numbers in the tables of docs/theory.md are those of results/reference/theory/."""

import pandas as pd
import pytest

from medae.theory.score_names import display_name

COLUMNS = ["brain_tumor", "lgg", "pediatric_cxr", "phantom"]
NAMES = ["Brain Tumor", "LGG", "Pediatric CXR", "Phantom, 16 factors"]
SETTINGS = {f"λ = {rate}": f"entropy_ae_{rate}" for rate in ("1e-5", "3e-5", "1e-4", "3e-4")}


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
    for (name, *cells), key in zip(table(page, "H(Z), Gaussian"), COLUMNS, strict=True):
        assert NAMES[COLUMNS.index(key)] == name
        for size, cell in zip((1, 2, 4, 8, 16, 32, 64, 128), cells, strict=True):
            row = selected(entropy, dataset=key, method="ae", latent_dim=size)
            assert cell == f"{row['gaussian_bits']:.1f} / {row['knn_bits']:.1f}"


def test_errors_of_the_estimators(page, results):
    errors = results("tables/estimators.tsv").query("n_images == 1000")
    cases = [
        ("gaussian", "gaussian_bits"),
        ("gaussian", "knn_bits"),
        ("two clusters", "gaussian_bits"),
        ("two clusters", "knn_bits"),
        ("copies", "knn_bits"),
        ("uniform cube", "knn_entropy"),
    ]
    rows = table(page, "known answer")
    for (_, _, *cells), (case, estimate) in zip(rows, cases, strict=True):
        for size, cell in zip((1, 4, 16, 64, 128), cells, strict=True):
            row = selected(errors, case=case, estimate=estimate, dim=size)
            decimals = len(cell.partition(".")[2])
            assert float(cell.replace("−", "-")) == pytest.approx(
                row["error"], abs=0.5 * 10**-decimals + 1e-9
            )


def test_aucs_of_the_scores(page, results):
    scores = results("tables/scores.tsv").query("method == 'ae' and latent_dim == 16")
    scores = scores[scores["split"] == "leak_free"]
    keys = {display_name(key): key for key in scores["score"].unique()}
    keys["control: low variance, 9 × 9, no model"] = "variance_w9"
    seen = 0

    def percent(key, dataset, metric):
        row = selected(scores, score=key, dataset=dataset, metric=metric)
        return f"{row['value_percent']:.1f}"

    for name, *cells in table(page, "score | Brain Tumor"):
        if name not in keys:
            continue
        seen += 1
        key = keys[name]
        assert cells[:4] == [percent(key, dataset, "auc") for dataset in COLUMNS]
        pixels = [percent(key, "lgg", metric) for metric in ("ap_pix", "dice_max")]
        assert cells[4] == " / ".join(pixels)
        matched = [percent(key, dataset, "auc_matched") for dataset in COLUMNS]
        assert cells[5] == ", ".join(matched)
    assert seen == 8


@pytest.mark.parametrize(
    ("start", "dataset", "metrics"),
    [
        (
            "Brain Tumor, d = 128",
            "brain_tumor",
            [("leak_free", "auc"), ("published", "auc"), ("published", "ap")],
        ),
        (
            "Phantom, d = 128",
            "phantom",
            [("published", m) for m in ("auc", "ap", "ap_pix", "dice_max")],
        ),
    ],
)
def test_the_grid_of_rates(page, results, start, dataset, metrics):
    entropy, values = results("tables/entropy.tsv"), results("metrics.tsv")
    values = values[values["training_set"] == "all"]
    for name, *cells in table(page, start):
        method = SETTINGS.get(name, "ae")
        size = 128 if method != "ae" else int(name.rpartition(" ")[2])
        setting = {"dataset": dataset, "method": method, "latent_dim": size}
        row = selected(entropy, **setting)
        if method == "ae":
            assert cells[:2] == ["–", "–"]
        else:
            assert cells[0] == f"{row['rate_bits']:.1f} / {row['rate_test_bits']:.1f}"
            assert cells[1] == f"{row['stream_bits']:.1f}"
            assert row["stream_bits"] < 1.05 * row["rate_test_bits"]
        assert cells[2] == f"{row['dims_in_use']:.0f}"
        assert cells[3] == f"{row['gaussian_bits']:.1f}"
        assert cells[4] == f"{row['error_test_normal']:.4f}"
        for cell, (split, metric) in zip(cells[5:], metrics, strict=True):
            value = selected(values, **setting, split=split, metric=metric)["value"]
            assert cell == f"{100 * value:.1f}"


def test_what_the_selectors_cost(page, results):
    selection = results("tables/selection.tsv").query("family == 'ae'")
    for name, *cells in table(page, "selector | Brain Tumor"):
        own = selection[selection["selector"] == name.strip("`")]
        plain = own[own["score"] == "mse"].set_index("dataset").loc[COLUMNS]
        for cell, (_, row) in zip(cells, plain.iterrows(), strict=False):
            size, _, regret = cell.rpartition(", ")
            assert regret == f"{row['regret_leak_free']:.1f}"
            if size:
                assert int(size.removeprefix("d = ")) == row["latent_dim"]
        assert cells[4] == f"{plain['regret_leak_free'].mean():.1f}"
        other = own[own["score"] != "mse"]
        assert len(other) == len(COLUMNS)
        assert cells[5] == f"{other['regret_leak_free'].mean():.1f}"
