"""The one renderer of tables: sections of plain text to Markdown, to an HTML page and to LaTeX."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table, write_text
from medae.report.rows import NothingToShowError

MISSING = "–"
BEST, SECOND = 1, 2
"""Ranks of cells; 0 stands for all others."""
MARKDOWN_MARKS = {BEST: "**{}**", SECOND: "<ins>{}</ins>"}  # Markdown itself cannot underline
HTML_MARKS = {BEST: "<strong>{}</strong>", SECOND: "<u>{}</u>"}
LATEX_MARKS = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}
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
    "σ": r"$\sigma$",
    "ε": r"$\varepsilon$",
    "λ": r"$\lambda$",
    "½": r"$\frac12$",
    "²": r"${}^2$",
    "×": r"$\times$",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {character: "\\" + character for character in "&%$#_{}"}


@dataclass(frozen=True)
class Section:
    """A heading, a text and a table; each can be empty. All is plain text."""

    heading: str = ""
    text: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    align: str = ""
    """One of l, r and c per column."""
    level: int = 2
    """Of the heading."""
    ranks: np.ndarray | tuple = ()
    """Shape (rows, columns): 0, BEST or SECOND; empty where no cell is marked."""
    groups: Sequence[str] = ()
    """One per row; LaTeX has a rule between rows of different groups."""
    latex_head: Sequence[str] = ()
    """Lines of LaTeX above the rows, in place of the header."""


def format_percent(mean: float, std: float) -> str:
    """Return "72.9 ± 2.1", only the mean when `std` is nan, or a dash when `mean` is nan."""
    if np.isnan(mean):
        return MISSING
    return f"{mean:.1f}" if np.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def format_points(difference: float) -> str:
    """Return a difference in points with its sign, or a dash for nan."""
    return MISSING if np.isnan(difference) else f"{round(difference, 1) + 0.0:+.1f}"  # no -0.0


def in_percent(*fractions: float, sign: str = "") -> str:
    """Return a fraction, or the two ends of an interval, in percent; a dash for nan."""
    if any(pd.isna(fraction) for fraction in fractions):
        return MISSING
    return " to ".join(f"{round(100 * part, 1) + 0.0:{sign}.1f}" for part in fractions)  # no -0.0


def format_probability(p_value: float) -> str:
    """Return a p-value with three decimals, or a dash for nan."""
    if pd.isna(p_value):
        return MISSING
    return f"{p_value:.3f}" if p_value >= 0.001 else "<0.001"


def write_sections(title: str, sections: Sequence[Section], *, markdown: Path, html: Path) -> None:
    """Write `sections` as Markdown, and as an HTML page with `title`."""
    write_text(markdown_sections(sections), markdown)
    write_text(html_page(title, sections), html)


def or_sentence(tabulate: Callable[..., None]) -> Callable[..., None]:
    """Return a function like `tabulate` that writes why where there is NothingToShowError."""

    @wraps(tabulate)
    def write(*, markdown: Path, html: Path, table: Path, **options: object) -> None:
        try:
            tabulate(markdown=markdown, html=html, table=table, **options)
        except NothingToShowError as reason:
            write_sections("Table", [Section(text=str(reason))], markdown=markdown, html=html)
            write_table(pd.DataFrame(columns=["dataset"]), table)
            if "latex" in options:
                write_text(f"% {reason}\n", options["latex"])

    return write


def markdown_sections(sections: Sequence[Section]) -> str:
    """Return sections as Markdown."""
    parts = []
    for one in sections:
        parts += [f"{'#' * one.level} {one.heading}\n"] * bool(one.heading)
        parts += [f"{one.text}\n"] * bool(one.text)
        if one.header:
            rows = _marked(one, MARKDOWN_MARKS, str)
            parts.append(markdown_table(one.header, rows, one.align))
    return "\n".join(parts)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Return a Markdown table; `align` has one of l, r, c per column."""
    rules = [{"l": ":--", "r": "--:", "c": ":-:"}[letter] for letter in align]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in (header, rules, *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def html_page(title: str, sections: Sequence[Section]) -> str:
    """Return a self-contained page, whose tables can be sorted."""
    body = "\n".join(_html_section(one) for one in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{html.escape(title)}</title><style>{HTML_STYLE}</style></head>
<body><h1>{html.escape(title)}</h1>
{body}<script>{SORT_SCRIPT}</script></body></html>
"""


def _html_section(section: Section) -> str:
    places = [{"l": "left", "r": "right", "c": "center"}[letter] for letter in section.align]

    def line(tag: str, cells: Sequence[str]) -> str:
        pairs = zip(places, cells, strict=True)
        cells = [f'<{tag} style="text-align:{place}">{cell}</{tag}>' for place, cell in pairs]
        return f"<tr>{''.join(cells)}</tr>"

    level, parts = section.level, []
    if section.heading:
        parts.append(f"<h{level}>{html.escape(section.heading)}</h{level}>")
    if section.text:
        parts.append(f"<p>{html.escape(section.text)}</p>")
    if section.header:
        head = line("th", [html.escape(cell) for cell in section.header])
        rows = _marked(section, HTML_MARKS, html.escape)
        body = "\n".join(line("td", row) for row in rows)
        parts.append(f"<table><thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table>")
    return "\n".join(parts)


def latex_table(section: Section, *, caption: str, label: str) -> str:
    """Return the table of a section as a LaTeX environment; the document needs booktabs.

    `caption` is plain text.
    """
    body: list[str] = []
    rows = _marked(section, LATEX_MARKS, escape_latex)
    for row, (above, group) in zip(
        rows, pairwise([section.groups[0], *section.groups]), strict=True
    ):
        body += [r"\midrule"] * (group != above)
        body.append(" & ".join(row) + r" \\")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{section.align}}}",
        r"\toprule",
        *section.latex_head,
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


def _marked(
    section: Section, marks: dict[int, str], escape: Callable[[str], str]
) -> list[list[str]]:
    """Return the escaped cells, those with a rank in their marks."""
    rows = [[escape(cell) for cell in row] for row in section.rows]
    for rank, mark in marks.items():
        for row, column in np.argwhere(np.equal(section.ranks, rank)):
            rows[row][column] = mark.format(rows[row][column])
    return rows


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
    const number = (row) => parseFloat(text(row).replace(/^\\u003c/, ""));
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
