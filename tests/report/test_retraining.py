"""The retraining control as a table and as a figure: differences by hand, and what is left out."""

import re

import numpy as np
import pandas as pd
import plot_training_sets as script
import pytest
from metric_frames import drawn, metric_rows, metric_table, tabulated
from tabulate_training_sets import measure_losses, tabulate_training_sets

from medae.report.rows import NothingToShowError, retrained_rows, training_sizes

NAMES = {"scans": "Scans & $", "clean": "Clean", "xray": "X-ray"}
METHODS = {"ae": "AE", "vae": "Wide VAE", "nearest": "Nearest", "pca": "PCA", "contrast": "Low"}
SIZES = {"all": 100, "without_twins": 40, "without_random": 41}


def trained(training, values, *, dataset="scans", splits=("published", "leak_free"), **options):
    """Rows of one model and metric; on `clean` nothing is left out."""
    size = 100 if dataset == "clean" else SIZES[training]
    options |= {"training": training, "n_train": size, "dataset": dataset}
    return [row for split in splits for row in metric_rows(values, split=split, **options)]


def published(training, values, **options):
    return trained(training, values, splits=["published"], **options)


@pytest.fixture
def metrics():
    return metric_table(
        published("all", [0.90, 0.92]),
        published("without_twins", [0.50, 0.54]),
        published("without_random", [0.60, 0.62]),
        trained("all", [0.4], splits=["leak_free"]),
        trained("without_twins", [0.3], splits=["leak_free"]),
        published("all", [0.8], dim=16),
        published("without_random", [0.7], dim=16),
        published("all", [0.85], method="nearest", dim=0, metric="ap"),
        published("without_twins", [0.35], method="nearest", dim=0, metric="ap"),
        trained("all", [0.1], metric="error_test_normal"),
        trained("without_twins", [0.2], metric="error_test_normal"),
        trained("all", [0.77], method="contrast", dim=0),
        trained("all", [0.6], dataset="clean"),
        trained("without_twins", [0.6], dataset="clean"),
    )


def tabulate(metrics):
    options = {"names": NAMES, "methods": METHODS}
    tables = {"metrics": metrics}
    return tabulated(tabulate_training_sets, tables, "markdown", "html", **options)


def test_only_models_with_several_training_sets_are_compared(metrics):
    kept = retrained_rows(metrics)
    assert set(kept["dataset"]) == {"scans"}  # in the other one nothing is left out
    assert set(kept["method"]) == {"ae", "nearest"}
    assert set(kept["metric"]) == {"auc", "ap"}
    sizes = training_sizes(kept.assign(n_train=kept["n_train"] - kept["seed"] % 2))
    assert sizes == {"all": "99–100", "without_twins": "39–40", "without_random": "40–41"}


def test_a_model_without_the_full_training_set_is_compared_too():
    """Both smaller sets have the same size; that images are left out shows in the other model."""
    sizes = {"all": 10, "without_twins": 4, "without_random": 4}
    rows = metric_table(
        *(
            metric_rows([0.5], "a", method, training=kind, n_train=sizes[kind])
            for method, kinds in (("ae", list(sizes)[1:]), ("pca", list(sizes)))
            for kind in kinds
        )
    )
    assert len(retrained_rows(rows)) == 5
    with pytest.raises(NothingToShowError):
        retrained_rows(rows.assign(n_train=10))


@pytest.mark.parametrize(("left_out", "shown"), [(1, 0), (2, 2)])
def test_it_takes_one_image_per_hundred_test_images(left_out, shown):
    sizes = {"all": 4000, "without_twins": 4000 - left_out}
    rows = [metric_rows([0.5], training=kind, n_train=size) for kind, size in sizes.items()]
    rows = metric_table(*rows).assign(n_normal=100, n_abnormal=100)
    if shown:
        assert len(retrained_rows(rows)) == shown
    else:
        with pytest.raises(NothingToShowError, match="too few"):
            retrained_rows(rows)


def test_losses_by_hand(metrics):
    keys = ["method", "latent_dim", "split", "metric"]
    losses = measure_losses(retrained_rows(metrics)).set_index(keys)
    full = losses.loc["ae", 4, "published", "auc"]
    assert [full[f"mean_{name}"] for name in SIZES] == pytest.approx([91.0, 52.0, 61.0])
    assert full["std_without_twins"] == pytest.approx(4 / np.sqrt(2))
    assert [full[f"n_seeds_{name}"] for name in SIZES] == [2, 2, 2]
    assert [full[f"n_train_{name}"] for name in SIZES] == [100, 40, 41]
    differences = ["loss_by_twins", "loss_by_fewer", "twins_beyond_fewer"]
    assert full[differences].tolist() == pytest.approx([39.0, 30.0, 9.0])
    part = losses.loc["ae", 4, "leak_free", "auc"]
    assert part["loss_by_twins"] == pytest.approx(10.0)
    assert part[differences[1:]].isna().all()
    assert (part["n_normal"], part["n_abnormal"]) == (10, 40)


def test_the_forms_of_the_table(metrics):
    texts = tabulate(metrics)
    first, _, *lines = texts["markdown"].splitlines()
    assert "Scans & $: all 100, without leaked images 40, without random images 41." in first
    assert "Scans & $ 30 + 40, leak-free 10 + 40" in first
    assert lines == [
        "## Full test set",
        "",
        "| Dataset | Metric | Method | d | All | Without leaked images | Without random images "
        "| Loss without leaked | Loss without random | Difference of the losses |",
        "| :-- | :-- | :-- | --: | :-: | :-: | :-: | --: | --: | --: |",
        "| Scans & $ | AUC | AE | 16 | 80.0 | – | 70.0 | – | +10.0 | – |",
        "| Scans & $ | AUC | AE | 4 | 91.0 ± 1.4 | 52.0 ± 2.8 | 61.0 ± 1.4 | +39.0 | +30.0 "
        "| +9.0 |",
        "| Scans & $ | AP | Nearest | – | 85.0 | 35.0 | – | +50.0 | – | – |",
        "",
        "## Leak-free test set",
        "",
        *lines[2:4],
        "| Scans & $ | AUC | AE | 4 | 40.0 | 30.0 | – | +10.0 | – | – |",
    ]
    assert re.findall("<h2>(.*?)</h2>", texts["html"]) == [
        "Full test set",
        "Leak-free test set",
    ]
    assert len(texts["rows"]) == 4


@pytest.mark.parametrize("query", ["dataset == 'clean'", "training_set == 'all'"])
def test_without_twins_there_is_nothing_to_show(query, metrics):
    rows = metrics.query(query)
    with pytest.raises(NothingToShowError, match="No model was trained on training sets"):
        tabulate(rows)
    with pytest.raises(NothingToShowError, match="No model was trained on training sets"):
        drawn(script.plot_training_sets, {"metrics": rows}, names=NAMES, methods=METHODS)


# --- the figure ---

AUCS = {  # (dataset, method, d): published AUC by training set
    ("scans", "ae", 4): (0.8, 0.5, 0.6),
    ("scans", "ae", 16): (0.9, 0.55, 0.65),
    ("scans", "pca", 1): (0.3, 0.2, 0.25),
    ("scans", "pca", 16): (0.7, 0.4, 0.5),
    ("scans", "vae", 16): (0.77, 0.4, 0.5),
    ("scans", "nearest", 0): (0.85, 0.35, 0.45),
    ("xray", "vae", 1): (0.5, 0.4, 0.4),
    ("xray", "vae", 2): (0.6, 0.5, 0.5),
}


@pytest.fixture
def figure():
    rows = metric_table(
        *(
            trained(name, [value] * 2, dataset=dataset, method=method, dim=dim)
            for (dataset, method, dim), values in AUCS.items()
            for name, value in zip(SIZES, values, strict=True)
        )
    )
    rows.loc[rows["split"] == "leak_free", "value"] -= 0.1
    assert len(pd.unique(rows["split"])) == 2
    return drawn(script.plot_training_sets, {"metrics": rows}, names=NAMES, methods=METHODS)


def test_panels_lines_and_the_nearest(figure):
    assert [axes.get_label() for axes in figure.axes] == ["scans ae", "scans pca", "xray vae"]
    assert figure.axes[2].get_title() == "X-ray, Wide VAE"
    panel = figure.axes[0]
    lines = {line.get_label(): line for line in panel.get_lines() if len(line.get_xdata())}
    for place, name in enumerate(("all", "without leaked images", "without random images")):
        assert list(lines[name].get_xdata()) == [4, 16]
        expected = [100 * AUCS["scans", "ae", d][place] for d in (4, 16)]
        assert list(lines[name].get_ydata()) == pytest.approx(expected)
        assert lines[name].get_color() == script.COLORS[place]
    dotted = [line for line in panel.get_lines() if line.get_linestyle() == ":"]
    levels = [line.get_ydata()[0] for line in dotted if len(line.get_ydata())]
    assert levels == pytest.approx([85, 35, 45])
    assert not [line for line in figure.axes[2].get_lines() if line.get_linestyle() == ":"]
    assert [text.get_text() for text in panel.texts] == ["100 / 40 / 41 training images"]
    for limits in ("get_xlim", "get_ylim"):
        assert len({getattr(axes, limits)() for axes in figure.axes}) == 1
    names = ["all", "without leaked images", "without random images", "nearest training image"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
