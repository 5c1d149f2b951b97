"""Tabulate methods and baselines, in the form of Table 2 of the paper, with tests.

After the networks comes an oracle, the autoencoder at each dataset's best d by test AUC, which
takes no part in the tests, and, where a run chooses d without labels, the one with that d; then the
baselines. In Markdown and HTML intervals and tests follow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from medae.base.files import read_table, write_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import (
    TABLE_METRICS,
    distinct_splits,
    one_precision,
    sort_rows,
    summarise,
)
from medae.models.baselines import BASELINES
from medae.models.information import INFORMATION, INFORMED
from medae.report.grids import make_grid, percent_rows, write_grid
from medae.report.rows import (
    INFORMATION_NOTE,
    ORACLE,
    SELECTED,
    SPLIT_NAMES,
    add_statistics,
    by_score,
    check_ranked,
    oracle_dimensions,
    read_intervals,
    row_labels,
    selected_dimensions,
)
from medae.report.tables import MISSING, Section, format_probability, in_percent, or_sentence

PICKED_NAMES = {
    ORACLE: "AE[d_optimal] (oracle: d by test AUC)",
    SELECTED: "AE[d_auto] (d without labels)",
}
TITLE = "Anomaly detection by autoencoder methods and baselines."


def tabulate_methods(
    *,
    metrics: Path,
    intervals: Sequence[Path],
    selections: Sequence[Path] = (),
    names: Mapping[str, str],
    methods: Mapping[str, str],
    reference: Mapping,
    selector: str = "",
    notes: Sequence[str],
    dataset_notes: Mapping[str, str],
    markdown: Path,
    latex: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the table.

    `intervals` has a table per dataset; `selections` the tables of choices, if any, in which
    `selector` chose d; `reference`, {method, latent_dim, score}, is what others are tested against,
    and has the d of all methods that have one; `notes` are sentences that the table's text ends
    with. Raises InputError when a table is of another kind.
    """
    rows = read_table(metrics).query("training_set == 'all'")
    check_ranked(rows)
    summary = summarise(by_score(one_precision(rows), information=True))
    oracle = oracle_dimensions(summary[summary["split"] == PUBLISHED_SPLIT])
    selected = selected_dimensions(selections, selector=selector)
    latent_dim = reference["latent_dim"]
    options = {"latent_dim": latent_dim, "picked": {ORACLE: oracle, SELECTED: selected}}
    cells = add_statistics(summary, one_precision(read_intervals(intervals)), **options)
    cells = cells[cells["metric"].isin(list(TABLE_METRICS))]
    labels = row_labels(methods, picked=PICKED_NAMES)
    labels = {key: label for key, label in labels.items() if key in set(cells["method"])}
    shown = cells["method"].where(cells["method"].isin(list(labels)))
    cells = cells.assign(row=pd.Categorical(shown, list(labels)))  # in their order

    def sizes(chosen: Mapping[str, int]) -> str:
        return ", ".join(f"{names[key]} d = {chosen[key]}" for key in names if key in chosen)

    about = f"All methods with a latent dimension have d = {latent_dim}"
    if oracle:
        about += (
            ", except AE[d_optimal], an oracle: the d with the best mean AUC on the full test "
            f"set, so chosen with the test labels ({sizes(oracle)})"
        )
    if labels.keys() & BASELINES.keys():
        about += ". The last rows are baselines without a network"
    if selected:
        about += (
            f". AE[d_auto] has the d that `{selector}` chose on held-out normal images "
            f"({sizes(selected)})"
        )
    if any(key.endswith(INFORMED) for key in labels):
        notes = [INFORMATION_NOTE, *notes]
    notes = [f"{about}.", *notes, *dataset_notes.values()]
    grid = make_grid(cells, title="Method", rows=labels, names=names, notes=notes)
    statistics = distinct_splits(cells[cells["row"].notna()])
    compared = methods[reference["method"] + INFORMED * (reference["score"] == INFORMATION)]
    about = describe_statistics(statistics, f"the {compared} with d = {latent_dim}", names=names)
    sections = [Section("Statistics", about)]
    header = ["Metric", "Method", "d", "Value", "95 % interval", f"Difference to {compared}"]
    header += ["95 % interval", "p (Holm)"]
    by_test_set = sort_rows(statistics, by=["dataset", "split", "metric", "row"], names=names)
    for (dataset, split), part in by_test_set.groupby(["dataset", "split"], sort=False):
        heading = f"{names[dataset]}, {SPLIT_NAMES[split]}"
        lines = printed_rows(part, labels)
        sections.append(Section(heading, header=header, rows=lines, align="llrrcrcr", level=3))
    outputs = {"markdown": markdown, "latex": latex, "html": html}
    write_grid(grid, title=TITLE, label="tab:methods", after=sections, **outputs)
    by = ["row", "dataset", "metric", "split"]
    write_table(percent_rows(statistics, by=by, names=names), table)


def describe_statistics(
    statistics: pd.DataFrame, compared: str, *, names: Mapping[str, str]
) -> str:
    """Return the sentences that go with the tables of statistics; `compared` is the reference."""
    known = statistics[statistics["low"].notna()]
    firsts = known.drop_duplicates(["dataset", "split"])
    units = []
    for first in sort_rows(firsts, by=["dataset", "split"], names=names).itertuples():
        grouped = first.n_groups < first.n_normal + first.n_abnormal
        name = f"{names[first.dataset]}{', leak-free' * (first.split == LEAK_FREE_SPLIT)}"
        units.append(f"{name}: {first.n_groups:.0f} {'groups of ' * grouped}images")
    replicates = ", ".join(f"{count:.0f}" for count in sorted(set(known["replicates"])))
    text = (
        f"Intervals are percentiles of {replicates} bootstrap replicates over the test images "
        f"({'; '.join(units)}). Images of one patient are drawn together or, where patients are "
        "not known, copies of one image. In each replicate a metric is averaged over the seeds. "
        "Nothing is trained again."
    )
    if statistics["p_holm"].notna().any():
        text += (
            f" Differences to {compared} are in percentage points; p is "
            "two-sided and paired (the same replicates for both), with Holm's correction over all "
            "methods and baselines of one dataset, metric and test set."
        )
    if (statistics["method"] == ORACLE).any():
        text += (
            " The oracle is not tested, and its interval leaves out that its d was chosen on the "
            "same images."
        )
    return text


def printed_rows(statistics: pd.DataFrame, labels: Mapping[str, str]) -> list[list[str]]:
    """Return the cells of each row in the order of the header."""
    return [
        [
            TABLE_METRICS[cell.metric].label,
            labels[cell.method],
            str(cell.latent_dim or MISSING),
            in_percent(cell.mean),
            in_percent(cell.low, cell.high),
            in_percent(cell.difference, sign="+"),
            in_percent(cell.difference_low, cell.difference_high, sign="+"),
            format_probability(cell.p_holm),
        ]
        for cell in statistics.itertuples()
    ]


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(or_sentence(tabulate_methods), snakemake)
