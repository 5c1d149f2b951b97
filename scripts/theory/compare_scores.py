"""Set the scores of `medae.theory.scores` beside each other and beside the baselines.

Inputs: `scores`, the tables of measure_scores.py; `metrics`, the collected table of metrics, of
which the baselines' rows are used; `selections`, the tables of select_latent_dim.py, of some
datasets or of none. A dataset's printed table has each method at `latent_dim`, or at its largest
where it has no such d; the TSV has all d. The figure shows the autoencoder's AUC against d: the
squared error, the relative error, the first information in windows, and the score that was chosen
without labels; the grey level is the best baseline, by leak-free AUC.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.base.files import read_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.models.baselines import BASELINES
from medae.report import figures
from medae.report.tables import MISSING, Section
from medae.theory.columns import SCORED, SELECTION_COLUMNS
from medae.theory.plan import AUTOENCODER
from medae.theory.results import (
    SPLITS,
    chosen_scores,
    distinct_lines,
    known,
    read_score_metrics,
    read_tables,
    write_comparison,
)
from medae.theory.scores import PLAIN_SCORE, display_name, parse_score

TITLE = "Scores by information"
ABOUT = (
    "Percent; mean over seeds. Leak-free: the test images without a duplicate in training; the "
    "published test set is for comparison with others. AUC matched: among images of like variance. "
    "⌈Dice⌉: best Dice over all thresholds, chosen on the test set. All models were trained on all "
    "normal images. Where the noise floor ε is not named, it is the model's mean error on normal "
    "training images. Where low variance, which uses no reconstruction, is as good as a score, the "
    "model has no part in it. † chosen without labels, by synthetic anomalies in held-out images."
)
SHOWN_COLUMNS = {  # (metric, split): title
    ("auc", LEAK_FREE_SPLIT): "AUC leak-free",
    ("auc", PUBLISHED_SPLIT): "AUC published",
    ("auc_matched", LEAK_FREE_SPLIT): "AUC matched, leak-free",
    ("ap", LEAK_FREE_SPLIT): "AP leak-free",
    ("ap_pix", LEAK_FREE_SPLIT): "AP_pix leak-free",
    ("dice_max", LEAK_FREE_SPLIT): "⌈Dice⌉ leak-free",
}
NO_SCORE = ""  # column `score` of a baseline
COLORS = [figures.BLUE, figures.VERMILLION, figures.GREEN]
HEIGHT = 2.0  # inches of a row of panels
WIDTH = 3  # panels side by side


def compare_scores(
    *,
    scores: Sequence[Path],
    metrics: Path,
    selections: Sequence[Path],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    latent_dim: int,
    output: Mapping[str, Path],
) -> None:
    """Write the table and the figure; `names` and `methods` are display names, in table order."""
    models = read_score_metrics(scores)
    baselines = read_baselines(read_table(metrics))
    rows = pd.concat([models, baselines[baselines["dataset"].isin(models["dataset"])]])
    chosen = chosen_scores(read_tables(selections, SELECTION_COLUMNS))
    rows["chosen"] = (rows["score"] == rows["dataset"].map(chosen)).astype(int)
    known(rows["method"], methods, what="method")
    sections = []
    for dataset in known(rows["dataset"], names, what="dataset"):
        shown = printed_rows(rows[rows["dataset"] == dataset], methods, latent_dim=latent_dim)
        sections.append(Section(names[dataset], describe(shown), *printed_table(shown, methods)))
    write_comparison(sections, title=TITLE, text=ABOUT, rows=rows, output=output)
    with figures.house_style():
        drawn = draw(rows, names, methods, latent_dim=latent_dim)
        figures.save_figure(drawn, pdf=output["pdf"], png=output["png"])


def read_baselines(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the baselines' rows of the collected metrics, in the form of `read_score_metrics`."""
    own = metrics["method"].isin(list(BASELINES)) & (metrics["training_set"] == "all")
    own &= metrics["metric"].isin([metric for metric, _ in SHOWN_COLUMNS])
    rows = metrics[own].rename(columns={"value": "value_percent"}).assign(score=NO_SCORE)
    rows["value_percent"] *= 100
    return rows[[*SCORED, "value_percent", "n_normal", "n_abnormal"]]


def printed_rows(
    rows: pd.DataFrame, methods: Mapping[str, str], *, latent_dim: int
) -> pd.DataFrame:
    """Return the rows at each method's printed d, methods in table order and baselines last."""
    sizes = rows.groupby("method")["latent_dim"].agg(set)
    printed = {key: latent_dim if latent_dim in own else max(own) for key, own in sizes.items()}
    shown = rows[rows["latent_dim"] == rows["method"].map(printed)]
    networks = [key for key in methods if key not in BASELINES]
    places = {key: place for place, key in enumerate([*networks, *BASELINES])}
    return shown.sort_values("method", key=lambda keys: keys.map(places), kind="stable")


def describe(shown: pd.DataFrame) -> str:
    """Return the sentence about the test images of one dataset."""
    splits = shown.drop_duplicates("split").set_index("split")
    counts = [
        f"{title} {splits.loc[split, 'n_normal']:.0f} + {splits.loc[split, 'n_abnormal']:.0f}"
        for split, title in SPLITS.items()
        if split in splits.index
    ]
    return f"Test images (normal + abnormal): {', '.join(counts)}."


def printed_table(
    shown: pd.DataFrame, methods: Mapping[str, str]
) -> tuple[list[str], list[list[str]], str]:
    """Return header, lines and alignment of one dataset; without metrics that no row has."""
    lines = ["method", "latent_dim", "score", "chosen"]
    cells = shown.set_index([*lines, "metric", "split"])["value_percent"].unstack([-2, -1])
    cells = cells.loc[pd.MultiIndex.from_frame(shown[lines].drop_duplicates())]
    columns = [key for key in SHOWN_COLUMNS if key in cells]
    printed = []
    for (method, size, score, chosen), values in cells[columns].iterrows():
        name = display_name(score) + " †" * chosen if score else MISSING
        line = [methods[method], str(size or MISSING), name]
        printed.append(line + [MISSING if pd.isna(v) else f"{v:.1f}" for v in values])
    header = ["Method", "d", "Score", *(SHOWN_COLUMNS[key] for key in columns)]
    return header, printed, "lrl" + "r" * len(columns)


def best_baseline(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows (one per split) of the baseline with the highest AUC, of `rows` of AUC.

    The leak-free AUC decides, the published one where there is no other.
    """
    own = rows[rows["method"].isin(list(BASELINES))]
    judged = own[own["split"] == LEAK_FREE_SPLIT]
    judged = own if judged.empty else judged
    best = judged.nlargest(1, "value_percent")["method"]
    return own[own["method"].isin(best)]


def shown_scores(scores: Sequence[str]) -> list[str]:
    """Return the scores that every panel has, of those in the tables, in the legend's order."""
    parsed = {name: parse_score(name) for name in scores}
    windowed = [name for name, one in parsed.items() if one.kind == "information" and one.window]
    return [name for name in (PLAIN_SCORE, "relative") if name in parsed] + windowed[:1]


def draw(
    rows: pd.DataFrame, names: Mapping[str, str], methods: Mapping[str, str], *, latent_dim: int
) -> Figure:
    """Draw the figure; an axes' label is its dataset. `rows` are those of the TSV.

    Baselines with a latent dimension count with `latent_dim`.
    """
    baseline = rows["method"].isin(list(BASELINES)) & rows["latent_dim"].isin([0, latent_dim])
    own = (rows["method"] == AUTOENCODER) | baseline
    rows = rows[own & (rows["metric"] == "auc")]
    datasets = known(rows["dataset"], names, what="dataset")
    columns = min(WIDTH, max(1, len(datasets)))
    height = -(-len(datasets) // columns)
    size = (figures.PAGE_WIDTH, HEIGHT * height + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    for place, key in enumerate(datasets):
        axes = figure.add_subplot(height, columns, place + 1, label=key)
        note = draw_panel(axes, rows[rows["dataset"] == key], methods)
        figures.set_title(axes, names[key], note=note)
        axes.set_xlabel("latent dimension $d$")
        axes.grid(axis="y")
        if place % columns == 0:
            axes.set_ylabel("AUC (%)")
    for split, line in figures.SPLIT_LINES.items() if datasets else ():
        label = f"{SPLITS[split]} test set"
        figure.axes[0].plot([], [], color="0.3", linestyle=line, label=label)
    figures.add_legend(figure, loc="outside lower center", ncols=3)
    return figure


def draw_panel(axes: Axes, rows: pd.DataFrame, methods: Mapping[str, str]) -> str:
    """Draw the scores and the best baseline of one dataset and return the panel's note."""
    models, best = rows[rows["method"] == AUTOENCODER], best_baseline(rows)
    styles = [
        (score, display_name(score), {"color": color, "marker": "o", "linewidth": 1.2})
        for score, color in zip(shown_scores(models["score"].unique()), COLORS, strict=False)
    ]
    notes = []
    for chosen in models.loc[models["chosen"] == 1, "score"].unique():
        look = {"color": figures.BLACK, "marker": "x", "linewidth": 0.7, "zorder": 3}
        styles.append((chosen, "chosen without labels", look))
        notes.append(f"chosen: {display_name(chosen)}")
    axes.axhline(50, color="0.85", linewidth=1, zorder=0)
    for split, line in distinct_lines(rows).items():
        for score, label, look in styles:
            own = models[(models["score"] == score) & (models["split"] == split)]
            values = own.set_index("latent_dim")["value_percent"].sort_index()
            axes.plot(values, linestyle=line, label=label, **look)
        for level in best.loc[best["split"] == split, "value_percent"]:
            look = {"color": "0.5", "linewidth": 1, "linestyle": line, "zorder": 1}
            axes.axhline(level, label="best baseline without a network", **look)
    notes += [f"baseline: {methods[key]}" for key in best["method"].unique()]
    inches = figures.PAGE_WIDTH / WIDTH - 0.38
    figures.latent_axis(axes, models["latent_dim"], inches=inches)
    return "\n".join(notes)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    files = {key: Path(path) for key, path in snakemake.output.items()}
    run_script(compare_scores, snakemake, output=files)
