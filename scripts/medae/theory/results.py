"""The tables of theory: reading them as one, and writing a comparison in its three forms."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from medae.base.files import write_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.report.tables import Section, write_sections

SPLITS = {LEAK_FREE_SPLIT: "leak-free", PUBLISHED_SPLIT: "published"}


def write_comparison(
    sections: Sequence[Section],
    *,
    title: str,
    text: str,
    rows: pd.DataFrame,
    output: Mapping[str, Path],
) -> None:
    """Write the sections below `text` as Markdown and as a page, and all `rows` as a TSV.

    `output` has the paths `markdown`, `html` and `table`.
    """
    sections = [Section(text=text), *sections]
    write_sections(title, sections, markdown=output["markdown"], html=output["html"])
    write_table(rows, output["table"])
