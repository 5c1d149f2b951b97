"""What numeric choices do to the metrics: runs of one grid side by side, the first as reference.

    python benchmarks/numeric.py results/numeric_float32 results/numeric_bfloat16 … [--out FILE]

Inputs: folders of finished runs with the same datasets, methods and seeds. Prints a table of AUC
and AP on the published test sets in percent, mean ± standard deviation over seeds, and one of how
far they are from the reference. Fails when a run has no metrics.tsv or other settings.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from medae.base.files import read_table, write_text
from medae.models.methods import REGISTRY
from medae.report.tables import markdown_table

SETTING = ["dataset", "method", "latent_dim"]
METRICS = {"auc": "AUC", "ap": "AP"}


def values_of(run: Path) -> pd.Series:
    """Return the metrics of a run's networks in percent, by setting, metric and seed."""
    table = read_table(run / "metrics.tsv")
    table = table[table["method"].isin(REGISTRY)]
    table = table[(table["split"] == "published") & (table["training_set"] == "all")]
    table = table[table["metric"].isin(METRICS)]
    return 100 * table.set_index([*SETTING, "metric", "seed"])["value"].sort_index()


def compare(runs: list[Path]) -> list[str]:
    """Return the two tables as Markdown."""
    found = {run.name: values_of(run) for run in runs}
    reference = found[runs[0].name]
    for name, values in found.items():
        if not values.index.equals(reference.index):
            sys.exit(f"{name} has other settings or seeds than {runs[0].name}.")
    keys = [*SETTING, "metric"]
    means = pd.DataFrame({k: v.groupby(keys, sort=False).mean() for k, v in found.items()})
    spreads = pd.DataFrame({k: v.groupby(keys, sort=False).std() for k, v in found.items()})
    lines = []
    for key in means.index:
        cells = [f"{means.at[key, n]:.1f} ± {spreads.at[key, n]:.1f}" for n in means]
        lines.append([*map(str, key[:3]), METRICS[key[3]], *cells])
    head = ["Dataset", "Method", "d", "Metric", *found]
    metrics = markdown_table(head, lines, "llrl" + "r" * len(found))
    lines = []
    for run in runs:
        auc = (found[run.name] - reference).xs("auc", level="metric").abs()
        mean = (means[run.name] - means[runs[0].name]).xs("auc", level="metric").abs()
        lines.append([run.name, f"{auc.max():.1f}", f"{mean.max():.1f}"])
    head = ["Run", "AUC of one seed, at most off by", "Mean AUC, at most off by"]
    return [metrics, markdown_table(head, lines, "lrr")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="results/<run>, the reference first")
    parser.add_argument("--out", type=Path, help="write there, too")
    options = parser.parse_args()
    text = "\n".join(compare(options.runs))
    print(text)
    if options.out:
        write_text(text, options.out)
