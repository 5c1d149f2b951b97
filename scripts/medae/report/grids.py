"""Tables of metrics in the form of the paper's: rows are models, columns a dataset's metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import write_text
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import (
    TABLE_METRICS,
    count_test_images,
    display_name,
    distinct_splits,
    same_images,
    sort_rows,
)
from medae.report.tables import Section, escape_latex, format_percent, latex_table, write_sections

Counts = Mapping[str, Mapping[str, tuple[int, int]]]
"""By a dataset's display name and split: the numbers of normal and of abnormal test images."""


@dataclass(frozen=True)
class Grid:
    """A table of metrics, and what only its LaTeX form shows."""

    section: Section
    columns: list[tuple[str, str, str]]
    """Display name of the dataset, key of TABLE_METRICS, split; a dataset's are neighbours."""
    groups: list[str]
    """The group of each row; rows are ranked within their group."""


def make_grid(
    summary: pd.DataFrame,
    *,
    row: str,
    row_title: str,
    rows: Mapping[object, str],
    names: Mapping[str, str],
    groups: Mapping[object, str] | None = None,
    notes: Sequence[str] = (),
) -> Grid:
    """Lay out a summary: rows by column `row`, columns by dataset, metric and split.

    `summary` comes from `summarise`, with both splits and at most one line per row, dataset, metric
    and split (filter it before: one training set, one method or one latent dimension). `rows` maps
    each value of column `row` to its label, in the order wanted; `names` maps each dataset's key to
    its display name, in the order wanted; `groups` maps each value of `row` to its group, without
    it there is one. A dataset has columns for each of TABLE_METRICS that any of its rows has.
    `notes` are sentences that the table's text ends with. Raises InputError when there is nothing
    to show, a dataset has no name, or rows of one dataset rest on different test images.
    """
    for dataset in sorted(set(summary["dataset"])):
        display_name(dataset, names)
    cells = summary[summary["metric"].isin(list(TABLE_METRICS)) & summary[row].isin(list(rows))]
    if cells.empty:
        raise InputError(
            f"There are no results to put in the table by {row}: the table of metrics has none of "
            f"{', '.join(TABLE_METRICS)} for it. Check which datasets and methods the "
            "configuration selects, and run the workflow again."
        )
    index = ["dataset", "metric", "split"]
    if cells.duplicated([row, *index]).any():
        raise ValueError(f"more than one line for a {row}, dataset, metric and split")
    counts = count_test_images(cells)
    shown = distinct_splits(cells)
    keys = sort_rows(shown[index].drop_duplicates(), by=index, names=names)
    keys = list(keys.itertuples(index=False, name=None))
    columns = [(names[dataset], metric, split) for dataset, metric, split in keys]
    wide = shown.set_index([row, *index])[["mean", "std"]].unstack([1, 2, 3])
    wide = 100 * wide.reindex(index=list(rows))
    mean, std = (wide[part][keys].to_numpy(dtype=float) for part in ("mean", "std"))
    row_groups = [groups[key] if groups else "" for key in rows]
    ranks = np.zeros((len(rows), 1 + len(columns)), dtype=int)
    for group in set(row_groups):
        inside = np.array(row_groups) == group
        ranks[inside, 1:] = rank_cells(mean[inside])
    text = [
        describe_cells(shown["n_seeds"], columns, groups=row_groups if ranks.any() else []),
        *describe_test_sets({names[key]: counts[key] for key in names if key in counts}, columns),
        *notes,
    ]
    section = Section(
        text=" ".join(text),
        header=[row_title, *(_title(*column) for column in columns)],
        rows=[
            [label, *map(format_percent, *numbers)]
            for label, *numbers in zip(rows.values(), mean, std, strict=True)
        ],
        align="r" + "c" * len(columns),
        ranks=ranks,
    )
    return Grid(section, columns, row_groups)


def rank_cells(mean: np.ndarray) -> np.ndarray:
    """Return 1 for the best and 2 for the second cells of each column of `mean`, else 0.

    Cells that print the same share a rank. nan has none; a column with a single result has no
    ranks, since there is nothing to be better than.
    """
    ranks = np.zeros(mean.shape, dtype=int)
    for column in range(mean.shape[1]):
        printed = np.array([float(f"{value:.1f}") for value in mean[:, column]])
        present = ~np.isnan(printed)
        if np.count_nonzero(present) < 2:
            continue
        for rank, value in enumerate(np.unique(printed[present])[::-1][:2], start=1):
            ranks[printed == value, column] = rank
    return ranks


def describe_cells(
    n_seeds: pd.Series, columns: Sequence[tuple[str, str, str]], *, groups: Sequence[str]
) -> str:
    """Return the sentences about seeds, marks (`groups` of the rows if there are any) and Dice."""
    seeds = sorted(set(n_seeds))
    if seeds == [1]:
        spread = "one seed"
    else:
        among = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        spread = f"mean ± standard deviation over {among} seeds"
        spread += " (without ± where there is one)" if 1 in seeds else ""
    sentences = [f"Percent; {spread}."]
    if groups:
        apart = list(dict.fromkeys(groups))
        apart = f", {' and '.join(apart)} apart" if len(apart) > 1 else ""
        sentences.append(f"Best of a column in bold, second underlined{apart}.")
    if any(metric == "dice_max" for _, metric, _ in columns):
        sentences.append("⌈Dice⌉: best Dice over all thresholds, chosen on the test set.")
    return " ".join(sentences)


def describe_test_sets(images: Counts, columns: Sequence[tuple[str, str, str]] = ()) -> list[str]:
    """Return the sentences about the numbers of test images, and about AP if a column has it."""
    counts = _join_splits(images, lambda normal, abnormal: f"{normal} + {abnormal}")
    sentences = [f"Test images (normal + abnormal): {counts}."]
    if any(LEAK_FREE_SPLIT in sets and not same_images(sets) for sets in images.values()):
        sentences.append("Leak-free: the test images without a copy in training.")
    if same := [name for name, sets in images.items() if same_images(sets)]:
        sentences.append(
            f"No test image of {' or '.join(same)} has a copy in training: the published and the "
            "leak-free test set are the same."
        )
    if without := [name for name, sets in images.items() if LEAK_FREE_SPLIT not in sets]:
        sentences.append(
            f"No leak-free numbers of {' or '.join(without)}: all normal or all abnormal test "
            "images have a copy in training."
        )
    if any(column[1:] == ("ap", LEAK_FREE_SPLIT) for column in columns):
        by_chance = _join_splits(images, lambda n, m: f"{100 * m / (n + m):.1f}")
        sentences.append(
            "AP depends on the share of abnormal images, so it is not to be compared between the "
            f"two test sets; by chance it is {by_chance}."
        )
    return sentences


def write_grid(
    grid: Grid,
    *,
    title: str,
    label: str,
    after: Sequence[Section] = (),
    markdown: Path,
    latex: Path,
    html: Path,
) -> None:
    """Write the grid as Markdown and HTML, with the sections `after` below it, and as LaTeX.

    `title` heads the page and begins the LaTeX caption; `label` is LaTeX's.
    """
    write_sections(title, [grid.section, *after], markdown=markdown, html=html)
    caption = f"{title} {grid.section.text}"
    if any(split == LEAK_FREE_SPLIT for _, _, split in grid.columns):
        caption += " Columns with an asterisk are leak-free."
    options = {"caption": caption, "label": label, "groups": grid.groups}
    write_text(latex_table(grid.section, head=_latex_head(grid), **options), latex)


def _title(dataset: str, metric: str, split: str) -> str:
    ending = ", leak-free" if split == LEAK_FREE_SPLIT else ""
    return f"{dataset} {TABLE_METRICS[metric][0]}{ending}"


def _latex_head(grid: Grid) -> list[str]:
    """Return the lines of datasets and of metrics; an asterisk leaves leak-free columns narrow."""
    spans, rules, first = [""], [], 2
    for name, group in groupby(grid.columns, key=lambda column: column[0]):
        width = len(list(group))
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    titles = [escape_latex(grid.section.header[0])]
    for _, metric, split in grid.columns:
        titles.append(TABLE_METRICS[metric][1] + "*" * (split == LEAK_FREE_SPLIT))
    return [" & ".join(spans) + r" \\", " ".join(rules), " & ".join(titles) + r" \\"]


def _join_splits(images: Counts, text: Callable[[int, int], str]) -> str:
    """Return e.g. "Scans 600 + 600, leak-free 74 + 600; X-ray 5 + 6"; `text` writes the counts."""
    parts = []
    for name, sets in images.items():
        parts.append(f"{name} {text(*sets[PUBLISHED_SPLIT])}")
        if LEAK_FREE_SPLIT in sets and not same_images(sets):
            parts[-1] += f", leak-free {text(*sets[LEAK_FREE_SPLIT])}"
    return "; ".join(parts)
