"""Tables of metrics in the form of the paper's: rows are models, columns a dataset's metrics."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_text
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import (
    TABLE_METRICS,
    count_test_images,
    distinct_splits,
    same_images,
    sort_rows,
)
from medae.report.rows import NothingToShowError
from medae.report.tables import (
    SECOND,
    Section,
    escape_latex,
    format_percent,
    latex_table,
    write_sections,
)

Column = tuple[str, str, str]
"""Display name of the dataset, key of TABLE_METRICS, split."""
PERCENT = ["mean", "std", "low", "high"]
POINTS = ["difference", "difference_low", "difference_high"]
NUMBERS = ["p_value", "p_holm", "n_seeds", "n_train", "n_normal", "n_abnormal", "replicates"]
NUMBERS += ["n_groups"]
ENDINGS = {PUBLISHED_SPLIT: "", LEAK_FREE_SPLIT: ", leak-free"}


def make_grid(
    cells: pd.DataFrame,
    *,
    title: str,
    rows: Mapping[str, str],
    groups: Sequence[str] = (),
    names: Mapping[str, str],
    notes: Sequence[str],
) -> Section:
    """Lay out a summary: rows by column `row`, columns by dataset, metric and split.

    `cells` come from `summarise`, with both splits, at most one line per row, dataset, metric and
    split, and a column `row`, whose values `rows` maps to labels, in the order wanted; `groups` has
    one for each, none for a single group. `title` heads the labels, and `names` maps each dataset
    to its display name. A dataset has columns for each of TABLE_METRICS that any of its rows has.
    `notes` are sentences that the table's text ends with. Raises NothingToShowError when there is
    nothing to show, and InputError when rows of one dataset rest on different test images.
    """
    cells = cells[cells["metric"].isin(list(TABLE_METRICS)) & cells["row"].isin(list(rows))]
    if cells.empty:
        raise NothingToShowError("Nothing to show: none of these models ranks a test set.")
    shown = distinct_splits(cells)
    index = ["dataset", "metric", "split"]
    keys = sort_rows(shown[index].drop_duplicates(), by=index, names=names).to_numpy().tolist()
    keys = [tuple(key) for key in keys]
    columns = [(names[dataset], metric, split) for dataset, metric, split in keys]
    wide = 100 * shown.pivot(index="row", columns=index, values=["mean", "std"]).reindex(list(rows))
    mean, std = (wide[part][keys].to_numpy(dtype=float) for part in ("mean", "std"))
    groups = groups or [""] * len(rows)
    ranks = rank_cells(mean, groups)
    text = [
        describe_cells(shown["n_seeds"], columns, groups=groups if ranks.any() else []),
        *describe_test_sets(cells, names, columns),
        *notes,
    ]
    return Section(
        text=" ".join(text),
        header=[title, *(f"{n} {TABLE_METRICS[m].label}{ENDINGS[s]}" for n, m, s in columns)],
        rows=[
            [label, *map(format_percent, *numbers)]
            for label, *numbers in zip(rows.values(), mean, std, strict=True)
        ],
        align="r" + "c" * len(columns),
        ranks=np.pad(ranks, [(0, 0), (1, 0)]),  # the labels have none
        groups=groups,
        latex_head=_latex_head(title, columns),
    )


def rank_cells(mean: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return 1 for the best and 2 for the second cells of each column in a group, else 0.

    The higher `mean`, a row per one of `groups`, is the better. Cells that print the same share a
    rank. nan has none, nor has a single result in a group.
    """
    printed = pd.DataFrame(mean).map(lambda value: float(f"{value:.1f}")).groupby(np.array(groups))
    ranks = printed.rank(method="dense", ascending=False)
    marked = (ranks <= SECOND) & (printed.transform("count") > 1)
    return ranks.where(marked, 0).to_numpy(int)


def describe_cells(n_seeds: pd.Series, columns: Sequence[Column], *, groups: Sequence[str]) -> str:
    """Return the sentences about seeds, marks (`groups` of the rows if there are any) and Dice."""
    fewest, most = n_seeds.min(), n_seeds.max()
    text = "Percent; one seed."
    if most > 1:
        among = most if fewest == most else f"{fewest} to {most}"
        without = " (without ± where there is one)" if fewest == 1 else ""
        text = f"Percent; mean ± standard deviation over {among} seeds{without}."
    if groups:
        apart = list(dict.fromkeys(groups))
        apart = f", {', '.join(apart[:-1])} and {apart[-1]} apart" if len(apart) > 1 else ""
        text += f" Best of a column in bold, second underlined{apart}."
    shown = {metric for _, metric, _ in columns}
    notes = [metric.note for key, metric in TABLE_METRICS.items() if key in shown and metric.note]
    return " ".join([text, *notes])


def describe_test_sets(
    rows: pd.DataFrame, names: Mapping[str, str], columns: Sequence[Column] = ()
) -> list[str]:
    """Return the sentences about the numbers of test images, and about AP if a column has it.

    `rows` as for `count_test_images`.
    """
    found = count_test_images(sort_rows(rows, by=["dataset"], names=names))
    images = {names[key]: sets for key, sets in found.items()}
    counts = _join_splits(images, lambda normal, abnormal: f"{normal} + {abnormal}")
    sentences = [f"Test images (normal + abnormal): {counts}."]
    if any(LEAK_FREE_SPLIT in sets and not same_images(sets) for sets in images.values()):
        sentences.append(
            "Leak-free: the test images without a copy, or another image of their patient, in "
            "training."
        )
    leaked: dict[int, list[str]] = {}
    for name, sets in images.items():
        if same_images(sets):
            number = sum(sets[PUBLISHED_SPLIT]) - sum(sets[LEAK_FREE_SPLIT])
            leaked.setdefault(number, []).append(name)
    for number, same in leaked.items():
        but = f" but {number}, which are too few to tell apart" if number else ""
        sentences.append(f"{' and '.join(same)}: all test images are leak-free{but}.")
    if without := [name for name, sets in images.items() if LEAK_FREE_SPLIT not in sets]:
        sentences.append(
            f"No leak-free numbers of {' and '.join(without)}: no normal or no abnormal test "
            "image, or no abnormal pixel, is leak-free."
        )
    if any(column[1:] == ("ap", LEAK_FREE_SPLIT) for column in columns):
        by_chance = _join_splits(images, lambda n, m: f"{100 * m / (n + m):.1f}")
        sentences.append(
            "AP depends on the share of abnormal images, so it is not to be compared between the "
            f"two test sets; by chance it is {by_chance}."
        )
    return sentences


def write_grid(
    grid: Section,
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
    write_sections(title, [grid, *after], markdown=markdown, html=html)
    caption = f"{title} {grid.text}"
    if "*" in grid.latex_head[-1]:
        caption += " Columns with an asterisk are leak-free."
    write_text(latex_table(grid, caption=caption, label=label), latex)


def percent_rows(
    rows: pd.DataFrame, *, by: Sequence[str], names: Mapping[str, str]
) -> pd.DataFrame:
    """Return the TSV of a grid, sorted: keys, percent, points of percent, and other NUMBERS."""
    rows = sort_rows(rows, by=by, names=names)
    scaled = {f"{key}_percent": 100 * rows[key] for key in PERCENT if key in rows}
    scaled |= {f"{key}_points": 100 * rows[key] for key in POINTS if key in rows}
    keys = ["method", "latent_dim", "dataset", "metric", "split"]
    return rows.assign(**scaled)[[*keys, *scaled, *(key for key in NUMBERS if key in rows)]]


def _latex_head(title: str, columns: Sequence[Column]) -> list[str]:
    """Return the lines of datasets and of metrics; an asterisk leaves leak-free columns narrow."""
    spans, rules, first = [""], [], 2
    for name, group in groupby(columns, key=lambda column: column[0]):
        width = len(list(group))
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    titles = [escape_latex(title)]
    for _, metric, split in columns:
        titles.append(TABLE_METRICS[metric].latex + "*" * (split == LEAK_FREE_SPLIT))
    return [" & ".join(spans) + r" \\", " ".join(rules), " & ".join(titles) + r" \\"]


def _join_splits(
    images: Mapping[str, Mapping[str, tuple[int, int]]], text: Callable[[int, int], str]
) -> str:
    """Return e.g. "Scans 600 + 600, leak-free 74 + 600; X-ray 5 + 6"; `text` writes the counts.

    `images` has the numbers of normal and abnormal test images by dataset's name and split.
    """
    parts = []
    for name, sets in images.items():
        parts.append(f"{name} {text(*sets[PUBLISHED_SPLIT])}")
        if LEAK_FREE_SPLIT in sets and not same_images(sets):
            parts[-1] += f", leak-free {text(*sets[LEAK_FREE_SPLIT])}"
    return "; ".join(parts)
