"""The table of the retraining control: differences by hand, and what is left out."""

import numpy as np
import pytest
from metric_frames import metric_rows, metric_table, tabulated
from tabulate_training_sets import measure_losses, tabulate_training_sets

from medae.base.files import read_table
from medae.report.rows import NothingToShowError, retrained_rows, training_sizes

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
    for none in (rows.assign(n_train=10), rows.query("training_set == 'all'")):
        with pytest.raises(NothingToShowError):
            retrained_rows(none)


def test_it_takes_one_image_per_hundred_test_images():
    def retrained(left_out):
        sizes = {"all": 4000, "without_twins": 4000 - left_out}
        rows = [metric_rows([0.5], training=kind, n_train=size) for kind, size in sizes.items()]
        return retrained_rows(metric_table(*rows).assign(n_normal=100, n_abnormal=100))

    assert len(retrained(2)) == 2
    with pytest.raises(NothingToShowError, match="too few"):
        retrained(1)


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


def test_the_committed_table_is_that_of_the_committed_metrics(root):
    """Three seeds, both test sets, models that lack a training set."""
    run = root / "results/reference/brain_tumor_control"
    options = {"names": {"brain_tumor": "Brain Tumor"}}
    options["methods"] = {"ae": "AE", "nearest": "Nearest training image", "pca": "PCA"}
    tables = {"metrics": read_table(run / "metrics.tsv")}
    found = tabulated(tabulate_training_sets, tables, "markdown", "html", **options)
    assert found["markdown"] == (run / "tables/training_sets.md").read_text(encoding="utf-8")
    assert found["rows"].equals(read_table(run / "tables/training_sets.tsv"))
