"""Score the weights of the last epochs: what a result owes to the epoch that ended it.

Scores the test images with the weights of every epoch of `training: snapshots:`. Nothing is chosen
by it: it reads test labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medae.base.files import write_table
from medae.data.packed import read_packed
from medae.evaluation.ranking import image_metrics
from medae.evaluation.splits import has_both
from medae.models.checkpoints import load_tensors
from medae.models.methods import build
from medae.models.scoring import score_batches
from medae.models.torch_setup import allow_tf32, make_deterministic, select_device
from medae.report.rows import NothingToShowError
from medae.report.tables import Section, or_sentence, write_sections

TITLE = "Metrics over the last epochs"
HEADER = ["Dataset", "Method", "d", "Seed", "Epochs", "AUC, last", "AUC, range"]
HEADER += ["Normal error, last", "Normal error, range"]
EXPLANATION = (
    "AUC in percent on the full test set by the method's own score, and the mean squared "
    "error of its normal images, with the weights of the last epoch and over all epochs that were "
    "kept. Nothing is chosen by this table."
)


def score_snapshots(
    *,
    packed: Sequence[Path],
    snapshots: Sequence[Path],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    runs: Sequence[Mapping],
    device: str,
    torch_threads: int,
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the tables; the TSV has a row per setting, seed and epoch.

    `snapshots` are those of `runs` (dataset, method, latent_dim, seed, training_set); `packed` are
    in the order of `names`.
    """
    chosen = select_device(device)
    make_deterministic(torch_threads)
    datasets = dict(zip(names, map(read_packed, packed), strict=True))
    rows = []
    for run, path in zip(runs, snapshots, strict=True):
        tensors, description = load_tensors(path)
        allow_tf32(description["training"]["precision"])
        data = datasets[run["dataset"]]
        if not has_both(data.test_labels):  # as the user meant it
            continue
        for epoch in sorted({int(name.partition(".")[0]) for name in tensors}):
            model = build(description["method"], **description["arguments"])
            model = model.to(chosen, memory_format=torch.channels_last)
            start = f"{epoch}."
            model.load_state_dict(
                {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            )
            found = list(score_batches(model.eval(), data.test_images, device=chosen))
            scores, errors = (
                np.concatenate([getattr(batch, key) for batch in found])
                for key in ("scores", "errors")
            )
            values = image_metrics(labels=data.test_labels, scores=scores, what=str(path))
            error = errors[data.test_labels == 0].mean()
            rows.append({**run, "epoch": epoch, "auc": values["auc"], "normal_error": error})
    if not rows:
        raise NothingToShowError("Nothing to rank: no dataset has both classes of test images.")
    frame = pd.DataFrame(rows)
    write_table(frame, table)
    lines = [
        [
            names[part["dataset"].iloc[0]],
            methods[part["method"].iloc[0]],
            str(part["latent_dim"].iloc[0]),
            str(part["seed"].iloc[0]),
            f"{part['epoch'].min()} to {part['epoch'].max()}, {len(part)}",
            f"{100 * part['auc'].iloc[-1]:.1f}",
            f"{100 * part['auc'].min():.1f} to {100 * part['auc'].max():.1f}",
            f"{part['normal_error'].iloc[-1]:.4f}",
            f"{part['normal_error'].min():.4f} to {part['normal_error'].max():.4f}",
        ]
        for _, part in frame.groupby(list(runs[0]), sort=False)
    ]
    section = Section(text=EXPLANATION, header=HEADER, rows=lines, align="llrrl" + "r" * 4)
    write_sections(TITLE, [section], markdown=markdown, html=html)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(or_sentence(score_snapshots), snakemake)
