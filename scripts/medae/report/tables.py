"""Tables as Markdown, HTML and LaTeX."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import (
    TABLE_METRICS,
    count_test_images,
    display_name,
    distinct_splits,
    same_images,
    sort_rows,
)

MISSING = "–"
HTML_STYLE = (
    "body{font-family:sans-serif;margin:1.5em}table{border-collapse:collapse}"
    "th,td{padding:.25em .8em;border-bottom:1px solid #ccc;white-space:nowrap}"
    "thead th{border-bottom:2px solid #333;position:sticky;top:0;background:#fff}p{max-width:60em}"
)
LATEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "⌈": r"$\lceil$",
    "⌉": r"$\rceil$",
    "μ": r"$\mu$",
} | {character: "\\" + character for character in "&%$#_{}"}


@dataclass(frozen=True)
class Section:
    """A heading with a text and a table; either can be empty. All is plain text."""

    heading: str
    text: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    align: str = ""
    level: int = 2
    """Of the heading."""


@dataclass(frozen=True)
class Column:
    """One column of a grid: a metric on one of a dataset's test sets."""

    dataset: str
    """Display name."""
    metric: str
    """Key of TABLE_METRICS."""
    split: str
    """PUBLISHED_SPLIT or LEAK_FREE_SPLIT."""


@dataclass(frozen=True)
class Grid:
    """What a table prints: rows × columns of mean and standard deviation, in percent."""

    row_title: str
    row_labels: list[str]
    row_groups: list[str]
    """The name of each row's group; rows are ranked within their group."""
    columns: list[Column]
    """The columns of one dataset are neighbours."""
    mean: np.ndarray
    """Shape (rows, columns), percent; nan where there is no result."""
    std: np.ndarray
    """Shape (rows, columns), percent, over seeds; nan with one seed."""
    n_seeds: np.ndarray
    """Shape (rows, columns); 0 where there is no result."""
    images: Mapping[str, Mapping[str, tuple[int, int]]]
    """By display name and split: numbers of normal and abnormal test images."""
    notes: tuple[str, ...] = ()
    """Sentences that the table's description ends with."""


def make_grid(
    summary: pd.DataFrame,
    *,
    row: str,
    row_title: str,
    rows: Mapping[object, str],
    names: Mapping[str, str],
    groups: Mapping[object, str] | None = None,
) -> Grid:
    """Lay out a summary: rows by column `row`, columns by dataset, metric and split.

    `summary` comes from `summarise`, with both splits and at most one line per row, dataset, metric
    and split (filter it before: one training set, one method or one latent dimension). `rows` maps
    each value of column `row` to its label, in the order wanted; `names` maps each dataset's key to
    its display name, in the order wanted; `groups` maps each value of `row` to its group, without
    it there is one. A dataset has columns for each of TABLE_METRICS that any of its rows has.
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
    images = count_test_images(cells)
    shown = distinct_splits(cells)
    keys = sort_rows(shown[index].drop_duplicates(), by=index, names=names)
    keys = list(keys.itertuples(index=False, name=None))
    wide = shown.set_index([row, *index])[["mean", "std", "n_seeds"]].unstack([1, 2, 3])
    wide = wide.reindex(index=list(rows))
    return Grid(
        row_title=row_title,
        row_labels=list(rows.values()),
        row_groups=[groups[key] if groups else "" for key in rows],
        columns=[Column(names[dataset], metric, split) for dataset, metric, split in keys],
        mean=100 * wide["mean"][keys].to_numpy(dtype=float),
        std=100 * wide["std"][keys].to_numpy(dtype=float),
        n_seeds=wide["n_seeds"][keys].fillna(0).to_numpy(dtype=int),
        images={names[key]: images[key] for key in names if key in images},
    )


def format_percent(mean: float, std: float) -> str:
    """Return "72.9 ± 2.1", only the mean when `std` is nan, or a dash when `mean` is nan."""
    if np.isnan(mean):
        return MISSING
    return f"{mean:.1f}" if np.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def format_points(difference: float) -> str:
    """Return a difference in points with its sign, or a dash for nan."""
    return MISSING if np.isnan(difference) else f"{round(difference, 1) + 0.0:+.1f}"  # no -0.0


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


def rank_grid(grid: Grid) -> np.ndarray:
    """Return the ranks of all cells, as `rank_cells` gives them, each group of rows apart."""
    groups = np.array(grid.row_groups)
    ranks = np.zeros(grid.mean.shape, dtype=int)
    for group in set(grid.row_groups):
        ranks[groups == group] = rank_cells(grid.mean[groups == group])
    return ranks


def describe_grid(grid: Grid) -> str:
    """Return the sentences that go with a table: seeds, marks, numbers of test images."""
    seeds = sorted(set(grid.n_seeds[grid.n_seeds > 0].tolist()))
    if seeds == [1]:
        spread = "one seed"
    else:
        among = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        spread = f"mean ± standard deviation over {among} seeds"
        spread += " (without ± where there is one)" if 1 in seeds else ""
    sentences = [f"Percent; {spread}."]
    if rank_grid(grid).any():
        groups = list(dict.fromkeys(grid.row_groups))
        apart = f", {' and '.join(groups)} apart" if len(groups) > 1 else ""
        sentences.append(f"Best of a column in bold, second underlined{apart}.")
    if any(column.metric == "dice_max" for column in grid.columns):
        sentences.append("⌈Dice⌉: best Dice over all thresholds, chosen on the test set.")
    sentences += describe_test_sets(grid.images)
    if any(column.split == LEAK_FREE_SPLIT and column.metric == "ap" for column in grid.columns):
        sentences.append(
            "AP depends on the share of abnormal images, so it is not to be compared between the "
            f"two test sets; by chance it is {_join_splits(grid.images, _chance)}."
        )
    return " ".join([*sentences, *grid.notes])


def describe_test_sets(images: Mapping[str, Mapping[str, tuple[int, int]]]) -> list[str]:
    """Return the sentences about the numbers of test images, which are those of a grid."""
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
    return sentences


def _join_splits(
    images: Mapping[str, Mapping[str, tuple[int, int]]], text: Callable[[int, int], str]
) -> str:
    """Return e.g. "Scans 600 + 600, leak-free 74 + 600; X-ray 5 + 6"; `text` writes the counts."""
    parts = []
    for name, sets in images.items():
        parts.append(f"{name} {text(*sets[PUBLISHED_SPLIT])}")
        if LEAK_FREE_SPLIT in sets and not same_images(sets):
            parts[-1] += f", leak-free {text(*sets[LEAK_FREE_SPLIT])}"
    return "; ".join(parts)


def _chance(n_normal: int, n_abnormal: int) -> str:
    return f"{100 * n_abnormal / (n_normal + n_abnormal):.1f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Return a Markdown table; `align` has one of l, r, c per column."""
    rules = [{"l": ":--", "r": "--:", "c": ":-:"}[letter] for letter in align]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in (header, rules, *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


# A click, Enter or the space bar on a column's head sorts by it, once more the other way round.
# Numbers go by what they begin with; cells without one come last.
SORT_SCRIPT = """
for (const head of document.querySelectorAll("thead th")) {
  head.tabIndex = 0;
  head.title = "Sort by this column";
  const sort = () => {
    const up = head.ariaSort === "descending" || !head.ariaSort;
    for (const other of head.parentNode.children) other.ariaSort = null;
    head.ariaSort = up ? "ascending" : "descending";
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const text = (row) => row.cells[column].textContent.trim().replace("\u2212", "-");
    const number = (row) => parseFloat(text(row));
    const rows = [...body.rows], numeric = rows.some((row) => !isNaN(number(row)));
    const order = (a, b) => numeric ? number(a) - number(b) : text(a).localeCompare(text(b));
    const last = (row) => numeric ? isNaN(number(row)) : !text(row);
    rows.sort((a, b) => last(a) - last(b) || (last(a) ? 0 : up ? order(a, b) : order(b, a)));
    body.append(...rows);
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => {
    if (!["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    sort();
  });
}
"""


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Return an HTML table; cells are HTML, the header is plain; `align` as for Markdown."""
    places = {"l": "left", "r": "right", "c": "center"}

    def line(tag: str, cells: Sequence[str]) -> str:
        marked = (
            f'<{tag} style="text-align:{places[letter]}">{cell}</{tag}>'
            for letter, cell in zip(align, cells, strict=True)
        )
        return f"<tr>{''.join(marked)}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    return f"""<table><thead>{line("th", [html.escape(cell) for cell in header])}</thead>
<tbody>
{body}
</tbody></table>"""


def markdown_sections(sections: Sequence[Section]) -> str:
    """Return sections as Markdown."""
    parts = []
    for one in sections:
        parts.append(f"{'#' * one.level} {one.heading}\n")
        parts += [f"{one.text}\n"] * bool(one.text)
        parts += [markdown_table(one.header, one.rows, one.align)] * bool(one.header)
    return "\n".join(parts)


def html_sections(sections: Sequence[Section]) -> str:
    """Return sections as HTML."""
    parts = []
    for one in sections:
        parts.append(f"<h{one.level}>{html.escape(one.heading)}</h{one.level}>")
        parts += [f"<p>{html.escape(one.text)}</p>"] * bool(one.text)
        rows = [[html.escape(cell) for cell in row] for row in one.rows]
        parts += [html_table(one.header, rows, one.align)] * bool(one.header)
    return "\n".join(parts)


def html_page(title: str, description: str, body: str) -> str:
    """Return a self-contained page; `body` is HTML, the other texts are plain."""
    about = f"<p>{html.escape(description)}</p>" if description else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{html.escape(title)}</title><style>{HTML_STYLE}</style></head>
<body><h1>{html.escape(title)}</h1>{about}
{body}<script>{SORT_SCRIPT}</script></body></html>
"""


def render_html(grid: Grid, *, title: str, after: str = "") -> str:
    """Return the grid as a page that a browser shows, with the HTML `after` below it."""
    marks = {0: "{}", 1: "<strong>{}</strong>", 2: "<u>{}</u>"}
    align = "r" + "c" * len(grid.columns)
    table = html_table(_titles(grid), _lines(grid, marks, html.escape), align)
    return html_page(title, describe_grid(grid), f"{table}\n{after}")


def _titles(grid: Grid) -> list[str]:
    titles = [grid.row_title]
    for column in grid.columns:
        ending = ", leak-free" if column.split == LEAK_FREE_SPLIT else ""
        titles.append(f"{column.dataset} {TABLE_METRICS[column.metric][0]}{ending}")
    return titles


def render_markdown(grid: Grid) -> str:
    """Return the grid as its description and a Markdown table."""
    marks = {0: "{}", 1: "**{}**", 2: "<ins>{}</ins>"}  # Markdown itself cannot underline
    table = markdown_table(_titles(grid), _lines(grid, marks), align="r" + "c" * len(grid.columns))
    return f"{describe_grid(grid)}\n\n{table}"


def render_latex(grid: Grid, *, caption: str, label: str) -> str:
    """Return the grid as a LaTeX table environment; the document needs the package booktabs.

    `caption` is plain text, and the grid's description follows it. Leak-free columns have an
    asterisk, which leaves them narrow.
    """
    marks = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
    spans, rules, first = [""], [], 2
    for name, group in groupby(grid.columns, key=lambda column: column.dataset):
        width = len(list(group))
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    titles = [escape_latex(grid.row_title)]
    leak_free = [column.split == LEAK_FREE_SPLIT for column in grid.columns]
    titles += [
        TABLE_METRICS[column.metric][1] + "*" * marked
        for column, marked in zip(grid.columns, leak_free, strict=True)
    ]
    note = " Columns with an asterisk are leak-free." if any(leak_free) else ""
    body: list[str] = []
    groups = [grid.row_groups[0], *grid.row_groups]
    for line, (above, group) in zip(
        _lines(grid, marks, escape_latex), pairwise(groups), strict=True
    ):
        body += [r"\midrule"] * (group != above)
        body.append(" & ".join(line) + r" \\")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(f'{caption} {describe_grid(grid)}{note}')}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{r{'c' * len(grid.columns)}}}",
        r"\toprule",
        " & ".join(spans) + r" \\",
        " ".join(rules),
        " & ".join(titles) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Return `text` with the characters that LaTeX would interpret written out."""
    return "".join(LATEX_SPECIALS.get(character, character) for character in text)


def _lines(
    grid: Grid, marks: Mapping[int, str], escape: Callable[[str], str] = str
) -> list[list[str]]:
    """Return the label and the marked cells of each row; `marks` has a format for each rank."""
    ranks = rank_grid(grid)
    return [
        [escape(label)]
        + [
            marks[int(rank)].format(escape(format_percent(mean, std)))
            for mean, std, rank in zip(grid.mean[i], grid.std[i], ranks[i], strict=True)
        ]
        for i, label in enumerate(grid.row_labels)
    ]
