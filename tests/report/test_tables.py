"""Tables of metrics: their forms, the table by latent dimension, the comparison with the paper."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from collect_metrics import collect_metrics
from compare_with_paper import HEADER, compare, compare_with_paper
from metric_frames import metric_rows, metric_table, paper_table, table_lines, tabulated
from tabulate_latent_dimension import tabulate_latent_dimension

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.evaluation.summary import (
    same_images,
    sort_rows,
    stacked,
    summarise,
)
from medae.report.grids import describe_test_sets, make_grid
from medae.report.rows import NothingToShowError
from medae.report.tables import (
    Section,
    escape_latex,
    format_points,
    html_page,
    in_percent,
    markdown_sections,
)

NAMES = {"scans": "Scans_2 & more", "xray": "X-ray", "unused": "Unused"}
METHODS = {"ae": "AE", "vae": "My VAE", "pca": "PCA"}


@pytest.fixture
def metrics():
    """Two datasets, one with masks and twins; d = 16, 4 and 1; what the table leaves out."""
    return metric_table(
        metric_rows([0.70, 0.72], dim=4),
        metric_rows([0.60, 0.62], dim=16),
        metric_rows([0.50], dim=1),
        metric_rows([0.8004, 0.8004], dim=4, metric="ap"),
        metric_rows([0.7996, 0.7996], dim=16, metric="ap"),
        metric_rows([0.25], dim=1, metric="ap"),
        metric_rows([0.71, 0.73], dim=4, split="leak_free"),
        metric_rows([0.9, 1.0], "scans", dim=16),
        metric_rows([0.4, 0.4], "scans", dim=16, split="leak_free"),
        metric_rows([0.88], "scans", "pca", dim=64),
        metric_rows([0.45], "scans", "pca", dim=64, split="leak_free"),
        metric_rows([0.3], "xray", "pca", dim=8),
        metric_rows([0.2], "xray", "pca", dim=64),
        metric_rows([0.2], "xray", dim=4, training="without_twins"),
        metric_rows([0.3, 0.1], "scans", dim=4, metric="dice_max"),
        metric_rows([0.99], "xray", "vae"),
        metric_rows([0.01], "xray", dim=4, metric="error_train_normal"),
        metric_rows([0.99], "xray", dim=4, split="robust"),
    )


# --- summaries ---


def test_summarise_refuses_a_seed_twice_and_different_test_sets(metrics):
    with pytest.raises(InputError, match=r"two rows for dataset xray.*seed 0"):
        summarise(pd.concat([metrics, metrics.iloc[:1]]))
    table = metric_table(metric_rows([0.5, 0.6]))
    table.loc[1, "n_normal"] = 4
    with pytest.raises(InputError, match="different numbers of test images"):
        summarise(table)


@pytest.mark.parametrize(
    ("leak_free", "same"),
    [((200, 99), True), ((199, 99), True), ((198, 99), False), ((200, 98), False), (None, False)],
)
def test_a_leak_free_test_set_that_lacks_less_than_one_percent_is_the_published_one(
    leak_free, same
):
    sets = {"published": (200, 99)} | ({"leak_free": leak_free} if leak_free else {})
    assert same_images(sets) == same


def test_what_is_said_of_the_test_sets(metrics):
    names = {"scans": "Scans", "xray": "X-ray"}
    columns = [("Scans", "auc", "leak_free"), ("Scans", "ap", "published")]  # no leak-free AP
    said = describe_test_sets(metrics, names, columns)[-1]
    assert said == "X-ray: all test images are leak-free."
    few = metrics.assign(n_normal=1000 - (metrics["split"] == "leak_free"), n_abnormal=500)
    assert describe_test_sets(few, names) == [
        "Test images (normal + abnormal): Scans 1000 + 500; X-ray 1000 + 500.",
        "Scans and X-ray: all test images are leak-free but 1, which are too few to tell apart.",
    ]
    said = describe_test_sets(metrics[metrics["split"] == "published"], names)[-1]
    assert said.startswith("No leak-free numbers of Scans and X-ray: no normal or no abnormal")


def test_rows_that_are_equal_by_the_key_keep_their_order():
    frame = pd.DataFrame({"dataset": list("abc") * 20, "place": range(60)})
    ordered = sort_rows(frame, by=["dataset"], names={"b": "B", "c": "C", "a": "A"})
    places = [*range(1, 60, 3), *range(2, 60, 3), *range(0, 60, 3)]
    assert ordered["place"].tolist() == places


def test_a_table_without_rows_leaves_numbers_numbers():
    """As objects they would be written with all their digits."""
    table = stacked([pd.DataFrame(columns=["value"]), pd.DataFrame({"value": [1 / 3]})])
    assert table["value"].dtype == float and len(table) == 1


# --- cells and sections ---


def test_printed_differences():
    assert [format_points(value) for value in (1.25, -0.04, np.nan)] == ["+1.2", "+0.0", "–"]
    assert in_percent(-0.0001, 0.0449, sign="+") == "+0.0 to +4.5"


def test_texts_are_escaped_in_every_form():
    sections = [Section("A <b>", "x & y", header=["p < q"], rows=[["1|2 <i>"]], align="l")]
    assert markdown_sections(sections).endswith("| p < q |\n| :-- |\n| 1\\|2 <i> |\n")
    page = html_page("<T>", sections)
    for text in ("&lt;T&gt;", "A &lt;b&gt;", "x &amp; y", "p &lt; q", "1|2 &lt;i&gt;"):
        assert text in page
    assert escape_latex("a|b<c>$") == r"a\textbar{}b\textless{}c\textgreater{}\$"
    assert escape_latex("½ σ² × ε").isascii()  # pdflatex has no Greek letters
    assert escape_latex(r"a_b & 5% \x ± 2") == r"a\_b \& 5\% \textbackslash{}x $\pm$ 2"


# --- the table by latent dimension ---

CAPTIONS = [
    "mean ± standard deviation over 1 to 2 seeds",
    "best Dice over all thresholds, chosen on the test set",
    "Test images (normal + abnormal): Scans_2 & more 30 + 40, leak-free 10 + 40; X-ray 5 + 6.",
    "X-rays are small.",
]
TABLE = """\
| Model | Scans_2 & more AUC | Scans_2 & more AUC, leak-free | Scans_2 & more ⌈Dice⌉ | X-ray AUC \
| X-ray AP |
| --: | :-: | :-: | :-: | :-: | :-: |
| AE, d = 16 | 95.0 ± 7.1 | 40.0 ± 0.0 | – | <ins>61.0 ± 1.4</ins> | **80.0 ± 0.0** |
| AE, d = 4 | – | – | 20.0 ± 14.1 | **71.0 ± 1.4** | **80.0 ± 0.0** |
| AE, d = 1 | – | – | – | 50.0 | <ins>25.0</ins> |
| PCA, d = 64 | 88.0 | 45.0 | – | <ins>20.0</ins> | – |
| PCA, d = 8 | – | – | – | **30.0** | – |
"""


def tabulate(metrics):
    options = {"names": NAMES, "methods": METHODS, "dataset_notes": {"xray": "X-rays are small."}}
    forms = ("markdown", "latex", "html")
    return tabulated(tabulate_latent_dimension, {"metrics": metrics}, *forms, **options)


def test_latent_dimension_markdown(metrics):
    text = tabulate(metrics)["markdown"]
    assert table_lines(text) == TABLE.splitlines()
    assert [words for words in CAPTIONS if words not in text] == []


def test_latent_dimension_latex_and_html(metrics):
    texts = tabulate(metrics)
    text = texts["latex"]
    lines = text.splitlines()
    assert r"\multicolumn{3}{c}{Scans\_2 \& more} & \multicolumn{2}{c}{X-ray} \\" in text
    assert r"\cmidrule(lr){2-4} \cmidrule(lr){5-6}" in lines
    assert r"Model & AUC & AUC* & $\lceil$Dice$\rceil$ & AUC & AP \\" in lines
    best = r"\textbf{71.0 $\pm$ 1.4} & \textbf{80.0 $\pm$ 0.0}"
    assert rf"AE, d = 4 & -- & -- & 20.0 $\pm$ 14.1 & {best} \\" in lines
    assert r"\underline{61.0 $\pm$ 1.4}" in text
    assert text.isascii()
    assert not re.search(r"(?<!\\)[_%#]", text)
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert [line.count(" & ") for line in body] == [5, 5, 5, 0, 5, 5]
    assert body[3] == r"\midrule"  # between AE and PCA
    assert "X-rays are small. Columns with an asterisk are leak-free.}" in text
    page = texts["html"]
    for part in ("<strong>71.0 ± 1.4</strong>", "<u>61.0 ± 1.4</u>", "Scans_2 &amp; more AUC"):
        assert part in page
    ElementTree.fromstring(page.partition("<meta")[0] + page[page.index("<title>") :])


def test_latent_dimension_tsv(metrics):
    table = tabulate(metrics)["rows"]
    first = table.loc[0, ["method", "latent_dim", "dataset", "metric", "split"]].tolist()
    assert first == ["ae", 16, "scans", "auc", "published"]
    ae = [95.0, 40.0, 61.0, 79.96, 20.0, 71.0, 80.04, 50.0, 25.0]
    assert table["mean_percent"].tolist() == [*ae, 88.0, 45.0, 20.0, 30.0]
    assert table["std_percent"][2] == pytest.approx(np.sqrt(2), abs=1e-8)
    assert table["n_seeds"].tolist() == [2] * 7 + [1] * 6
    assert table["n_normal"].tolist()[:3] == [30, 10, 5]


def test_a_grid_tells_the_chance_of_ap_and_is_nothing_without_rows():
    splits = [metric_rows([0.5], "scans", split=s, metric="ap") for s in ("published", "leak_free")]
    cells = summarise(metric_table(*splits)).assign(row="ae")
    options = {"title": "", "names": NAMES, "notes": ()}
    # 40 of 70 and 40 of 50 images are abnormal.
    chance = "by chance it is Scans_2 & more 57.1, leak-free 80.0."
    assert chance in make_grid(cells, rows={"ae": "AE"}, **options).text
    with pytest.raises(NothingToShowError):
        make_grid(cells, rows={"no": "No"}, **options)


# --- collect_metrics ---


def test_collect_sorts_whatever_the_order_of_inputs(metrics, tmp_path):
    parts = [group for _, group in metrics.groupby(["dataset", "method", "latent_dim"])]
    paths = [tmp_path / f"{i}.tsv" for i in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        write_table(part.sample(frac=1, random_state=0), path)
    collect_metrics(metrics=paths, collected=tmp_path / "one.tsv")
    collect_metrics(metrics=paths[::-1], collected=tmp_path / "other.tsv")
    assert (tmp_path / "one.tsv").read_bytes() == (tmp_path / "other.tsv").read_bytes()
    collected = read_table(tmp_path / "one.tsv")
    assert list(collected.columns) == METRIC_COLUMNS
    assert len(collected) == len(metrics)
    keys = collected[METRIC_COLUMNS[:8]].to_numpy().tolist()
    assert keys == sorted(keys)


def test_collect_refuses_repeated_rows_and_other_columns(metrics, tmp_path):
    write_table(metrics, tmp_path / "a.tsv")
    with pytest.raises(InputError, match="two rows for dataset"):
        collect_metrics(metrics=[tmp_path / "a.tsv"] * 2, collected=tmp_path / "o.tsv")
    write_table(metrics.drop(columns="split"), tmp_path / "b.tsv")
    with pytest.raises(InputError, match=r"b\.tsv has the columns"):
        collect_metrics(metrics=[tmp_path / "b.tsv"], collected=tmp_path / "o.tsv")
    assert not (tmp_path / "o.tsv").exists()


# --- compare_with_paper ---


PAPER = paper_table(
    ("table2", "xray", "vae", 4, "auc", 67.9, 0.8),
    ("table1", "xray", "ae", 4, "ap", 83.0, 1.0),
    ("table1", "xray", "ae", 4, "auc", 68.0, 1.0),
    ("table1", "xray", "ae", 16, "auc", 65.0, 1.0),
    ("table1", "elsewhere", "ae", 4, "auc", 50.0, 1.0),
)


CODE = pd.DataFrame(  # of the paper's code, a row per seed
    [("xray", "ae", 4, 0, 9, "auc", 73.0), ("xray", "ae", 4, 1, 9, "auc", 77.0)],
    columns=["dataset", "method", "latent_dim", "seed", "epochs", "metric", "value"],
)


def compared(metrics, paper=PAPER, code=CODE):
    return compare(metrics=metrics, paper=paper, reference_code=code, names=NAMES)


def test_the_tolerance_itself_is_within():
    ours = metric_table(metric_rows([0.502, 0.502]))
    for theirs, verdict in ((50.0, "within"), (49.9, "outside")):
        paper = paper_table(("table1", "xray", "ae", 4, "auc", theirs, 0.1))
        assert compared(ours, paper)["paper_verdict"].tolist() == [verdict]


def test_one_seed_of_theirs_gives_no_verdict():
    found = compared(metric_table(metric_rows([0.70, 0.72])), code=CODE[:1])
    assert found["code_verdict"].tolist() == ["one seed"]
    assert found["paper_verdict"].tolist() == ["within"]


def run_comparison(metrics):
    tables = {"metrics": metrics, "paper": PAPER.replace("xray", "theirs"), "reference_code": CODE}
    options = {"papers": {"xray": "theirs"}, "names": NAMES, "methods": METHODS}
    found = tabulated(compare_with_paper, tables, "markdown", "html", **options)
    return found["rows"], found["markdown"]


def test_comparison_by_hand(metrics):
    table, text = run_comparison(metrics)
    # 2 * sqrt(1 + 2) = 3.46 twice, then 2 * sqrt(1 + 0) = 2
    assert table["paper_tolerance"][:3].tolist() == pytest.approx([2 * 3**0.5, 2 * 3**0.5, 2.0])
    assert table.loc[3, ["our_std", "paper_tolerance"]].isna().all()
    summary, _, *lines = text.splitlines()
    assert summary.startswith(
        "Of the paper's 5 numbers this run has 4: 1 within tolerance, 2 outside, and 1 without a "
        "verdict because they come from one seed. X-ray against the paper: 1 of 3 within "
        "tolerance, differences of +6.8 points on average, the largest +31.1 (My VAE, d = 4, AUC). "
        "X-ray against the reference code on the same images: 1 of 1 within tolerance, differences "
        "of -4.0 points on average, the largest -4.0 (AE, d = 4, AUC)."
    )
    assert lines == [
        f"| {' | '.join(HEADER)} |",
        "| :-- | :-- | :-- | --: | :-- | :-: | --: | :-: | --: | :-- | :-: | --: | :-- |",
        "| 1 | X-ray | AE | 16 | AUC | 61.0 ± 1.4 | 2 | 65.0 ± 1.0 | -4.0 | outside | – | – | – |",
        # sd 2.8 of the code: 2 * sqrt(8 + 2) = 6.3
        "| 1 | X-ray | AE | 4 | AUC | 71.0 ± 1.4 | 2 | 68.0 ± 1.0 | +3.0 | within "
        "| 75.0 ± 2.8 | -4.0 | within |",
        "| 1 | X-ray | AE | 4 | AP | 80.0 ± 0.0 | 2 | 83.0 ± 1.0 | -3.0 | outside | – | – | – |",
        "| 2 | X-ray | My VAE | 4 | AUC | 99.0 | 1 | 67.9 ± 0.8 | +31.1 | one seed | – | – | – |",
    ]


def test_ap_beside_the_papers_is_at_its_share(metrics):
    """Where that is the test set's own it is not marked."""
    plain = metrics[metrics["metric"] == "ap"]
    shared = plain.assign(metric="ap_share", value=plain["value"] + 0.02)
    table, text = run_comparison(pd.concat([metrics, shared]))
    (row,) = table[table["metric"] == "ap"].itertuples()
    assert row.our_mean == pytest.approx(82.04) and row.at_share
    assert "| AP* | 82.0" in text and "AP* is AP at the paper's share" in text
    same = plain.assign(metric="ap_share")
    table, text = run_comparison(pd.concat([metrics, same]))
    assert not table["at_share"].any() and "AP*" not in text


def test_other_scores_are_not_compared_with_the_paper(metrics):
    other = metrics.assign(score="information", value=0.9)
    assert run_comparison(metrics)[1] == run_comparison(pd.concat([metrics, other]))[1]


def test_comparison_without_a_common_cell(metrics):
    table, text = run_comparison(metrics.assign(dataset="scans").iloc[:4])
    assert len(table) == 0
    assert table.columns[0] == "table" and table.columns[-1] == "code_verdict"
    assert text.startswith("None of the paper's 5 numbers has a counterpart in this run")


@pytest.mark.parametrize("query", ["split != 'published'", "training_set != 'all'"])
def test_comparison_uses_what_the_paper_did(metrics, query):
    others = metrics.query(query)
    assert len(others)
    assert compared(others).empty
