"""The metrics of one set of scores, on the published test set and on the leak-free one."""

import logging

import numpy as np
import pandas as pd

from medae.data.packed import PackedDataset
from medae.evaluation.metrics import image_metrics, mean_reconstruction_errors, pixel_metrics
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT

logger = logging.getLogger(__name__)


def measure(
    table: pd.DataFrame,
    *,
    truth: PackedDataset,
    leak_free: np.ndarray,
    trained_on: np.ndarray,
    scores_images: bool,
    maps: np.ndarray | None,
    what: str,
) -> pd.DataFrame:
    """Return rows of split, metric, value, n_train, n_normal and n_abnormal.

    `table` is that of `read_scores`; `leak_free` says which test images have no twin in training
    and `trained_on` which training images were used (bool); `maps` are anomaly maps N × H × W, of
    which pixel metrics are made. Image metrics are left out without `scores_images`, and the means
    of reconstruction errors where `table` has none. The leak-free split is left out when one of the
    classes has no image in it. `what` names the scores in errors.
    """
    rows: list[dict] = []
    everything = np.ones(len(truth.test_labels), dtype=bool)
    for split, chosen in ((PUBLISHED_SPLIT, everything), (LEAK_FREE_SPLIT, leak_free)):
        if split == LEAK_FREE_SPLIT and chosen.all():
            rows += [row | {"split": split} for row in rows]  # no pixel is ranked twice
            break
        labels = truth.test_labels[chosen]
        n_abnormal = int(np.count_nonzero(labels))
        counts = {
            "n_train": int(np.count_nonzero(trained_on)),
            "n_normal": len(labels) - n_abnormal,
            "n_abnormal": n_abnormal,
        }
        masks = None if maps is None else truth.test_masks[chosen]
        if split == LEAK_FREE_SPLIT and (
            0 in (counts["n_normal"], n_abnormal) or (masks is not None and not masks.any())
        ):
            logger.warning("No %s metrics: a class has no test image without a twin.", split)
            continue
        kept = table[np.concatenate([trained_on, chosen])]
        values: dict[str, float] = {}
        test = kept[kept["split"] == "test"]
        if scores_images:
            values |= image_metrics(
                labels=labels, scores=test["score"], what=f"{split} test images in {what}"
            )
        if table["reconstruction_error"].notna().any():
            values |= mean_reconstruction_errors(
                split=kept["split"], labels=kept["label"], errors=kept["reconstruction_error"]
            )
        if maps is not None:
            values |= pixel_metrics(
                masks=masks,
                maps=maps[chosen],
                what=f"pixels of the {split} test images in {what}",
            )
        rows += [
            {"split": split, "metric": name, "value": value} | counts
            for name, value in values.items()
        ]
    return pd.DataFrame(rows)
