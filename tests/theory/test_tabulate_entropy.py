"""The table of entropies: what it reads, its order, its means over seeds and its words."""

import pandas as pd
import pytest
from tabulate_entropy import COLUMNS, tabulate_entropy

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.theory.entropy_tables import by_model, coded_methods, read_entropy
from medae.theory.probe_files import ENTROPY_COLUMNS

NAMES = {"scans": "Scans", "xray": "X-ray"}
METHODS = {"ae": "AE", "vae": "VAE", "small": "Entropy AE, small"}
ENTROPIES = {  # (dataset, method, d): quantity -> value of either seed
    ("xray", "ae", 4): {"gaussian_bits": (20.0, 22.0), "knn_bits": (18.0, 18.0)},
    ("scans", "small", 8): {"gaussian_bits": (30.0,), "rate_bits": (25.04,), "dims_in_use": (7,)},
    ("scans", "ae", 4): {"gaussian_bits": (10.0, 12.0), "dims_in_use": (4, 4)},
    ("scans", "ae", 16): {"gaussian_bits": (40.0, 44.0), "dims_in_use": (16, 15)},
}
ERRORS = ["error_test_normal", "error_test_abnormal"]


@pytest.fixture
def files(tmp_path):
    rows = [
        (*key, seed, quantity, value)
        for key, quantities in ENTROPIES.items()
        for quantity, values in quantities.items()
        for seed, value in enumerate(values)
    ]
    coded = [("scans", "small", 8, 0, "stream_bits", 26.0)]
    coded += [("scans", "small", 8, 0, "rate_test_bits", 25.5)]
    probed = [("scans", "small", 8, 0, "rate_test_bits", 25.5)]
    images = [("scans", "images", 0, 0, "twonn", 12.34), ("scans", "images", 0, 0, "mle", 9.0)]
    images += [("scans", "images", 0, 0, "n_images", 80.0)]
    metrics = [
        (dataset, training_set, method, dim, seed, split, metric, value, 9, normal, 6)
        for dataset, method, dim in ENTROPIES
        for seed in (0, 1)
        for training_set, fault in (("all", 0.0), ("without_twins", 0.5))
        for split, normal, shift in (("published", 5, 0.0), ("leak_free", 3, 0.1))
        for metric, value in (
            ("auc", 0.6 + 0.02 * seed + shift - fault),
            (ERRORS[0], 0.00123 + fault + shift),
            (ERRORS[1], 0.0045 + fault + shift),
        )
    ]
    tables = {"rows": rows + probed, "coded": coded, "images": images}
    for name, table in tables.items():
        write_table(pd.DataFrame(table, columns=ENTROPY_COLUMNS), tmp_path / f"{name}.tsv")
    write_table(pd.DataFrame(metrics, columns=METRIC_COLUMNS), tmp_path / "metrics.tsv")
    return tmp_path


def inputs(folder):
    return [folder / f"{name}.tsv" for name in ("rows", "coded", "images")]


def run(folder, *, names=NAMES, methods=METHODS):
    tabulate_entropy(
        entropy=inputs(folder),
        metrics=folder / "metrics.tsv",
        names=names,
        methods=methods,
        markdown=folder / "table.md",
        html=folder / "table.html",
        table=folder / "table.tsv",
    )
    return pd.read_csv(folder / "table.tsv", sep="\t"), (folder / "table.md").read_text()


def test_rows_stand_in_the_order_of_names_methods_and_falling_d(files):
    table, _ = run(files)
    keys = table[["dataset", "method", "latent_dim"]].itertuples(index=False, name=None)
    expected = [("scans", "ae", 16), ("scans", "ae", 4), ("scans", "small", 8), ("xray", "ae", 4)]
    assert list(keys) == expected
    assert list(table["n_seeds"]) == [2, 2, 1, 2]


def test_numbers_are_means_and_deviations_over_seeds_of_models_of_all_images(files):
    table, _ = run(files)
    first = table.iloc[0]
    assert first["gaussian_bits"] == 42
    assert first["gaussian_bits_std"] == pytest.approx(8**0.5)
    assert first["auc_published"] == pytest.approx(0.61)
    assert first["auc_leak_free"] == pytest.approx(0.71)
    assert first["error_test_normal"] == pytest.approx(0.00123)
    assert first["error_test_abnormal"] == pytest.approx(0.0045)
    coded = table.iloc[2]
    assert (coded["rate_test_bits"], coded["stream_bits"]) == (25.5, 26)
    assert table["stream_bits"].isna().tolist() == [True, True, False, True]
    assert table["rate_bits_std"].isna().all()


def test_markdown_prints_units_dashes_and_only_columns_with_values(files):
    _, text = run(files)
    scans, xray = text.split("## X-ray")
    lines = [line for line in scans.splitlines() if line.startswith("|")]
    assert lines[0] == (
        "| Method | d | H(Z) Gaussian | Rate | Rate, test | Stream, test | Dimensions in use "
        "| Error, normal | Error, abnormal | AUC leak-free | AUC published |"
    )
    assert lines[2] == (
        "| AE | 16 | 42.0 ± 2.8 | – | – | – | 16 ± 1 | 12 ± 0 | 45 ± 0 | 71.0 ± 1.4 | 61.0 ± 1.4 |"
    )
    assert lines[4].startswith(
        "| Entropy AE, small | 8 | 30.0 | 25.0 | 25.5 | 26.0 | 7 | 12 | 45 | 70.0 | 60.0 |"
    )
    assert "Mean ± standard deviation over 1 to 2 seeds." in text
    assert "Intrinsic dimension of its 80 normal training images" in scans
    assert "TwoNN 12.3, MLE 9.0." in scans
    assert "Intrinsic dimension of its" not in xray
    assert "kNN" in xray.splitlines()[2]


def test_page_has_a_table_per_dataset(files):
    run(files)
    page = (files / "table.html").read_text()
    assert page.count("<table>") == 2
    assert "<h2>Scans</h2>" in page
    assert len(COLUMNS) == 14


def test_datasets_and_methods_without_a_name_are_refused(files):
    with pytest.raises(InputError, match="dataset xray"):
        run(files, names={"scans": "Scans"})
    with pytest.raises(InputError, match="method small"):
        run(files, methods={"ae": "AE"})


def test_reading_joins_tables_and_takes_a_quantity_once(files):
    rows = read_entropy(inputs(files))
    assert not rows.duplicated(ENTROPY_COLUMNS[:-1]).any()
    models = by_model(rows)
    assert "images" not in set(models["method"])
    assert len(models) == 7
    assert coded_methods(models) == ["small"]
    assert coded_methods(by_model(read_entropy(inputs(files)[:1]))) == []


def test_reading_refuses_other_tables_and_images_alone(files):
    with pytest.raises(InputError, match="no table of entropies"):
        read_entropy([files / "metrics.tsv"])
    with pytest.raises(InputError, match="No entropy of a model"):
        read_entropy(inputs(files)[2:])
    with pytest.raises(InputError, match="No entropy of a model"):
        read_entropy([])
