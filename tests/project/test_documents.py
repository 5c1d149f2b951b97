"""The documents against the results, commands and files that they speak of."""

import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from medae.base.files import read_table
from medae.report.tables import markdown_table

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config/README.md"]
DOCUMENTS += ROOT.glob("results/**/README.md")
BLOCK = re.compile(r"<!-- begin (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
RESULTS = ROOT / "results/reference"

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def percent(groups, key: tuple) -> str:
    """Return the mean of a group's fractions as percent, with its spread over seeds."""
    if key not in groups.groups:
        return ""
    values = 100 * groups.get_group(key)["value"]
    return f"{values.mean():.1f}" + (f" ± {values.std():.1f}" if len(values) > 1 else "")


# --- tables that are made of results --------------------------------------------------------------


PAPER_HEADER = ["AUC", "Brain Tumor, paper", "ours", "RSNA, paper", "ours"]
LEAKAGE_HEADER = ["Brain Tumor, AUC", "full test set", "leak-free part of it (74 + 600)"]
LEAKAGE_HEADER += ["full, retrained without 801 leaked training images"]
LEAKAGE_HEADER += ["control: without 801 random ones"]
SCORE_HEADER = ["RSNA", "AUC", "within strata of equal smoothness"]


def with_most_seeds(runs: Sequence[Path], keys: list[str]) -> pd.DataFrame:
    """Metrics by the paper's protocol, each setting's from the run with the most seeds of it."""
    tables = [read_table(run / "metrics.tsv").assign(run=place) for place, run in enumerate(runs)]
    table = pd.concat(tables).query("training_set == 'all' & split == 'published'")
    seeds = table.groupby([*keys, "run"])["seed"].nunique()
    chosen = seeds.groupby(keys).idxmax()  # of equal ones the first
    return table.set_index([*keys, "run"]).loc[chosen].reset_index()


def paper_rows(runs: Sequence[Path]) -> list[list[str]]:
    """Our AUCs beside the paper's on both datasets, a row per model."""
    models = {
        "AE, best d (by test labels)": ("ae", "squared_error", None),
        "AE, d = 16": ("ae", "squared_error", 16),
        "VAE, d = 16": ("vae", "squared_error", 16),
        "MemAE, d = 16": ("memae", "squared_error", 16),
        "CeAE, d = 16": ("ceae", "squared_error", 16),
        "AE, d = 16, information": ("ae", "information", 16),
    }
    keys = ["metric", "dataset", "method", "score", "latent_dim"]
    ours = with_most_seeds(runs, keys).groupby(keys)
    theirs = read_table(ROOT / "workflow/resources/paper_values.tsv").query("metric == 'auc'")
    theirs = theirs.set_index(["dataset", "method", "latent_dim"]).sort_index()
    rows = []
    for name, (method, score, size) in models.items():
        cells = [name]
        for dataset, key in {"brain_tumor": "brain_tumor", "rsna": "rsna_public"}.items():
            paper = theirs.loc[dataset, method]
            means = ours["value"].mean().loc["auc", key, method, score]
            best, own = size or paper["mean"].idxmax(), size or means.idxmax()
            shown = "{mean:.1f} ± {std:.1f}".format(**paper.loc[best])
            marks = ["", ""] if size else [f" (d = {best})", f" (d = {own})"]
            cells += [shown + marks[0] if score == "squared_error" else "–"]
            cells += [percent(ours, ("auc", key, method, score, own)) + marks[1]]
        rows.append(cells)
    return rows


def leakage_rows(run: Path, control: Path) -> list[list[str]]:
    """AUC with duplicates, without them, and retrained without them."""
    models = {
        "AE d = 32, the paper's best": ("ae", 32),
        "AE d = 16": ("ae", 16),
        "nearest training image": ("nearest", 0),
        "low total variation, no model": ("total_variation", 0),
    }
    keys = ["metric", "method", "latent_dim", "training_set", "split"]
    tables = {}
    for folder in (run, control):
        table = read_table(folder / "metrics.tsv")
        own = (table["dataset"] == "brain_tumor") & table["score"].isin(["squared_error", "image"])
        tables[folder] = table[own].groupby(keys)
    columns = [(run, "all", "published"), (run, "all", "leak_free")]
    columns += [(control, "without_twins", "published"), (control, "without_random", "published")]
    return [
        [name, *(percent(tables[folder], ("auc", *model, *key)) for folder, *key in columns)]
        for name, model in models.items()
    ]


def score_rows(run: Path, metrics: Sequence[str]) -> list[list[str]]:
    """Values of `metrics` by score, beside scores without a model."""
    names = {
        ("ae", "squared_error"): "AE, d = 16, squared error (paper: 67.5 ± 0.9)",
        ("ae_by_ssim", "squared_error"): "AE, d = 16, SSIM",
        ("ae", "information"): "AE, d = 16, information",
        ("pca", "squared_error"): "PCA, d = 16, squared error",
        ("pca", "information"): "PCA, d = 16, information",
        ("local_variance", "image"): "low local variance, no model",
        ("total_variation", "image"): "low total variation, no model",
    }
    table = read_table(run / "metrics.tsv").query("training_set == 'all' & split == 'published'")
    table = table[table["latent_dim"].isin([0, 16])]
    groups = table.groupby(["metric", "method", "score"])
    return [
        [name, *(percent(groups, (metric, *key)) for metric in metrics)]
        for key, name in names.items()
    ]


def tables_of(text: str) -> list[list[list[str]]]:
    """Return the cells of a document's tables below their headers."""
    found = re.findall(r"(?:^\|.*\n)+", text, re.M)
    return [
        [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[2:]]
        for table in found
    ]


def test_the_readme_has_the_results():
    """Byte for byte, headers included."""
    text = read(ROOT / "README.md")
    run, control = RESULTS / "brain_tumor", RESULTS / "brain_tumor_control"
    full = [RESULTS / "paper_public", run, RESULTS / "rsna"]
    assert markdown_table(PAPER_HEADER, paper_rows(full), "lcccc") in text
    assert markdown_table(LEAKAGE_HEADER, leakage_rows(run, control), "lcccc") in text
    scores = score_rows(RESULTS / "rsna", ["auc", "auc_matched_local"])
    assert markdown_table(SCORE_HEADER, scores, "lcc") in text


def test_the_held_out_run_has_its_rates():
    """AUC, and both rates at the threshold and at the ends of its interval, from the archive."""
    folder = RESULTS / "held_out"
    auc = read_table(folder / "metrics.tsv").query("metric == 'auc' & split == 'published'")
    auc = auc[auc["method"] == "ae"].set_index(["dataset", "score"])["value"]
    shown = iter([row[2:] for row in tables_of(read(folder / "README.md"))[0]])
    with tarfile.open(folder / "scores.tar.xz") as archive:
        for dataset in ("rsna_public", "brain_tumor", "lgg", "pediatric_cxr"):
            setting = f"{dataset}/all/ae/d16/seed0"
            names = (f"scores/{setting}/scores", f"scores/{setting}/others")
            plain, test, decision = (
                pd.read_csv(archive.extractfile(f"{name}.tsv"), sep="\t")
                for name in (*names, f"models/{setting}/decision")
            )
            test["squared_error"] = plain.loc[plain["split"] == "test", "score"].to_numpy()
            for row in decision.itertuples():
                above = {x: test[row.score] > x for x in (row.threshold, row.high, row.low)}
                rates = pd.DataFrame(above).groupby(test["label"]).mean().mul(100).to_numpy()
                cells = ["{:.1f} ({:.1f} to {:.1f})".format(*rates[label]) for label in (0, 1)]
                value = f"{100 * auc[dataset, row.score]:.1f}"
                assert next(shown) == [row.score.replace("_", " "), value, *cells]


def test_the_findings_have_the_results():
    """Their two tables."""
    text = read(ROOT / "docs/findings.md")
    smooth, explored = ([row[1:] for row in t] for t in tables_of(text))

    table = read_table(RESULTS / "rsna/tables/methods.tsv").query("metric == 'auc'")
    table = table.set_index("method").loc[["ae", "total_variation", "local_variance"]]
    expected = []
    for row in table.itertuples():
        difference = f"{row.difference_points:+.1f} ({row.difference_low_points:+.1f} to "
        difference = f"{difference}{row.difference_high_points:+.1f})".replace("(-", "(−")
        value = f"{row.mean_percent:.1f}"
        value += "" if row.std_percent != row.std_percent else f" ± {row.std_percent:.1f}"
        expected.append([value, difference if row.Index != "ae" else ""])
    assert smooth == expected
    table = read_table(RESULTS / "theory/tables/scores.tsv").query(
        "metric == 'auc' and (method == 'ae' and latent_dim == 16 or method == 'total_variation')"
    )
    # Where no image has leaked both test sets are the same, under the one name.
    table = table.sort_values("split").drop_duplicates(["dataset", "score"])
    wide = table.pivot(index="dataset", columns="score", values="value_percent").round(1)
    wide = wide.loc[["brain_tumor", "lgg", "pediatric_cxr"]]
    wide = wide[["squared_error", "information_w9", "variance_w9", "image"]]
    assert explored == wide.astype(str).to_numpy().tolist()


@every_document
def test_quoted_lines_stand_in_the_quoted_file_in_that_order(document):
    for path, text in BLOCK.findall(read(document)):
        lines = iter(read(ROOT / path).splitlines())
        missing = [line for line in text.splitlines() if line not in lines]
        assert not missing, path


def test_columns_are_those_of_the_files():
    _, columns = tables_of(read(ROOT / "results/README.md"))
    named = {name for row in columns for name in re.findall(r"`(\w+)`", row[0])}
    assert named == set(read_table(RESULTS / "rsna/metrics.tsv").columns)


# --- commands, links and paths --------------------------------------------------------------------


def code(text: str) -> str:
    """Return what a document has in code spans and code blocks."""
    blocks = re.compile(r"^```.*?^```|^(?: {4}[^\n]*\n)+", re.M | re.S)
    return "\n".join([*blocks.findall(text), *re.findall(r"`([^`]+)`", blocks.sub("", text))])


@every_document
def test_make_targets_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.M))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code(read(document)))) <= targets


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    text = re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_lead_somewhere(document):
    for file, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", read(document)):
        if "://" not in file:
            target = document.parent / file if file else document
            assert target.exists(), file
            assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


@every_document
def test_named_files_exist(document):
    if document.name in ("CHANGELOG.md", "extending.md"):
        pytest.skip("names files that went, or that its reader makes")
    folders = "workflow|scripts|config|docs|tests|benchmarks|envs|results/reference"
    for path in re.findall(rf"(?<![\w/.])(?:{folders})/[\w./-]+\w", code(read(document))):
        assert (ROOT / path).exists() or path == "config/mine.yaml", path


@every_document
def test_nothing_names_a_folder_of_one_machine(document):
    assert not re.search(r"(?<![\w./>-])/(?:home|root|work|tmp)/", read(document))


@pytest.mark.workflow
def test_the_configuration_in_the_readme_plans_a_run(fresh, tmp_path):
    text = re.search(r"```yaml\n(.*?)```", read(ROOT / "README.md"), re.S)[1]
    (fresh.folder / "config/mine.yaml").write_text(text.replace("/path/to", str(tmp_path)))
    assert "train_autoencoder" in fresh.run("--dry-run", config="config/mine.yaml")


def test_every_configuration_has_a_line():
    text = read(ROOT / "config/README.md")
    for path in (ROOT / "config").glob("*.yaml"):
        if read(path).startswith("#"):  # else it is the user's own, as the README has it
            assert f"`{path.name}`" in text


def test_reference_results_name_their_command():
    for folder in RESULTS.iterdir():
        assert re.search(r"^    (?:make|\.venv/bin/snakemake) ", read(folder / "README.md"), re.M)
        assert (folder / "provenance.json").exists(), folder
