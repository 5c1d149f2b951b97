"""The figure of choices without labels: panels, curves and marks."""

import numpy as np
import pandas as pd
import pytest
from plot_selection import CHOICES, ROWS, draw, plot_selection

from medae.base.files import write_table
from medae.theory.score_metrics import SCORE_METRIC_COLUMNS
from medae.theory.selectors import SELECTORS

NAMES = {"b": "Second $", "a": "First"}
SIZES = [1, 4, 16]
PICKED = {"a": 4, "b": 16}


@pytest.fixture
def tables():
    selection, curves, metrics = [], [], []
    for dataset, scores in (("a", ["mse", "ncc_w9"]), ("b", ["mse"])):
        for score in scores:
            for selector in SELECTORS:
                size = 0 if selector == "knee" else PICKED[dataset]
                method = "ae" if size else None
                selection.append((dataset, "ae", selector, score, method, size, "why"))
            for size in SIZES:
                values = {f"synthetic_auc:{score}": 0.7, f"synthetic_auc_se:{score}": 0.01}
                values |= {f"synthetic_auc_haze:{score}": 0.6, f"synthetic_auc_dark:{score}": 0.8}
                if score == "mse":
                    values |= {"validation_error": 1 / size, "validation_error_se": 0.1}
                curves += [(dataset, "ae", "ae", size, *pair) for pair in values.items()]
                for split, shift in (("published", 0), ("leak_free", -0.1)):
                    auc = 0.5 + size / 100 + shift
                    row = (dataset, "ae", size, 0, score, split)
                    metrics.append((*row, "auc", auc, None, None, 5, 6))
                    metrics.append((*row, "ap", 0.1, None, None, 5, 6))
        curves.append((dataset, "entropy_ae", "low", 128, "validation_error", 9))
        selection.append((dataset, "entropy_ae", "knee", "mse", "low", 128, "why"))
    columns = ["dataset", "family", "selector", "score", "method", "latent_dim", "criterion"]
    curve_columns = ["dataset", "family", "method", "latent_dim", "quantity", "value"]
    return (
        pd.DataFrame(selection, columns=columns),
        pd.DataFrame(curves, columns=curve_columns),
        pd.DataFrame(metrics, columns=SCORE_METRIC_COLUMNS),
    )


def panels_of(figure):
    return {axes.get_label(): axes for axes in figure.axes}


def test_a_column_per_dataset(tables):
    figure = draw(*tables, NAMES)
    assert [axes.get_label() for axes in figure.axes] == [
        f"{dataset} {row}" for dataset in NAMES for row in ROWS
    ]
    panels = panels_of(figure)
    notes = [panels[f"{key} error"].texts[0].get_text() for key in NAMES]
    assert notes == ["chosen score:\nsquared error", "chosen score:\n1 − correlation, 9 × 9"]


def test_curves(tables):
    panels = panels_of(draw(*tables, NAMES))
    (error,) = panels["a error"].get_lines()
    assert list(error.get_xdata()) == SIZES
    assert error.get_ydata() == pytest.approx(1 / np.array(SIZES))
    drawn = [line for line in panels["a synthetic"].get_lines() if len(line.get_xdata()) == 3]
    levels = sorted(round(float(line.get_ydata()[0])) for line in drawn)
    assert levels == [60, 60, 70, 70, 80, 80]  # mean and kinds of two scores
    test = [line for line in panels["a test"].get_lines() if len(line.get_xdata()) == 3]
    found = {(line.get_linestyle(), round(float(line.get_ydata()[1]))) for line in test}
    assert found == {("-", 44), ("--", 54)}


def test_marks(tables):
    panels = panels_of(draw(*tables, NAMES))
    for dataset, marked in (("a", 2), ("b", 1)):
        marks = panels[f"{dataset} choices"].collections
        assert len(marks) == marked
        for mark in marks:
            points = {-round(y): x for x, y in mark.get_offsets()}
            expected = {CHOICES.index(key): PICKED[dataset] for key in SELECTORS if key != "knee"}
            oracles = {CHOICES.index(key): 16 for key in CHOICES if key.startswith("oracle")}
            assert points == expected | oracles


def test_without_a_leak_free_test_set(tables):
    selection, curves, metrics = tables
    metrics = metrics[metrics["split"] == "published"]
    mark = panels_of(draw(selection, curves, metrics, NAMES))["b choices"].collections[0]
    assert -round(min(y for _, y in mark.get_offsets())) == CHOICES.index("oracle, published")
    assert len(mark.get_offsets()) == len(SELECTORS)  # less the knee, and one oracle


def test_the_files(tables, tmp_path):
    paths = {}
    for name, table in zip(("selections", "curves", "scores"), tables, strict=True):
        paths[name] = [tmp_path / f"{name}.tsv"]
        write_table(table[table["dataset"] == "b"], paths[name][0])  # fewer panels are faster
    made = []
    for run in ("one", "two"):
        outputs = {end: tmp_path / f"{run}.{end}" for end in ("pdf", "png")}
        plot_selection(**paths, names=NAMES, **outputs)
        made.append([path.read_bytes() for path in outputs.values()])
    assert made[0] == made[1]
    assert [part[:4] for part in made[0]] == [b"%PDF", b"\x89PNG"]
