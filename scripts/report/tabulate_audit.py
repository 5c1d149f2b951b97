"""Tabulate the audits of all datasets: copies, thresholds, and what separates classes by itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import read_table, write_table
from medae.data.groups import image_groups
from medae.evaluation.metrics import image_metrics
from medae.report.tables import MISSING, Section, write_sections

TITLE = "Audit of the datasets"
STATISTICS = {"brightness": "Brightness", "contrast": "Contrast", "total_variation": "Variation"}
CLASSES = {("train", 0): "training", ("test", 0): "normal test", ("test", 1): "abnormal test"}
COMPARED = [("abnormal test", "normal test"), ("normal test", "training")]
UNMOVED = ["test_normal", "test_abnormal", "train"]
THRESHOLD_COUNTS = {
    "test_normal": "Normal test",
    "test_abnormal": "Abnormal test",
    "train": "Training",
    "train_copies": "Copies in training",
    "test_copies": "Copies in test",
    "copy_groups": "Copy groups",
}
SIMILARITY = {
    True: "the highest correlation of their pixels, as grey images of at most 64 × 64, over the "
    "eight ways to mirror and rotate one of them",
    False: "the correlation of their pixels, as grey images of at most 64 × 64",
}
DEFINITIONS = (
    "The similarity of two images is {similarity}. Two images are copies when it reaches the "
    "threshold or their pixels are identical. A twin of an image is a copy of it in the other "
    "split. A copy group is a set of two or more images that are linked by copies. The leak-free "
    "test images are those without a twin. A calibrated threshold is one that at most 1 in 1000 "
    "normal images reaches with an image of another patient; a configured one is set where no "
    "patients are known. Copies within one split can also be neighbouring slices of one patient."
)
UNMOVED_MEANS = " Unmoved: with a twin that is neither mirrored nor rotated."
IN_PARENTHESES = " In parentheses: with a twin that is neither mirrored nor rotated."
BY_THRESHOLD = (
    "At every threshold of the configuration and the one that is used: the normal test, abnormal "
    "test and training images with a twin; those with a copy in their own split; the copy groups."
)
SEPARABILITY = (
    "Mean ± standard deviation by class, of intensities 0–255: brightness is their mean, contrast "
    "their variance, variation the total variation per pixel. AUC in percent of the number by "
    "itself: of the abnormal against the normal test images, where low counts as abnormal, and of "
    "the normal test images against the training images, where low counts as test. 50 means that "
    "the number cannot tell the two classes apart; far from 50 it can, without a model."
)

Numbers = dict[str, dict[str, dict[str, float]]]
"""By the TSV's table, row and quantity."""


def tabulate_audit(
    *,
    images: Sequence[Path],
    thresholds: Sequence[Path],
    names: Mapping[str, str],
    group_patterns: Sequence[str | None],
    moved: bool,
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the tables; the TSV has the columns dataset, table, row, quantity and value.

    `images`, `thresholds` and `group_patterns` are parallel to `names`; a pattern is the regular
    expression that finds an image's patient in its id, or None. `moved` says whether mirrored and
    rotated copies count.
    """
    parts = {
        dataset: measure_audit(read_table(image_file), read_table(threshold_file), pattern)
        for dataset, image_file, threshold_file, pattern in zip(
            names, images, thresholds, group_patterns, strict=True
        )
    }
    sections = [
        datasets_section(parts, names, moved=moved),
        thresholds_section(parts, names, moved=moved),
        classes_section(parts, names),
    ]
    write_sections(TITLE, sections, markdown=markdown, html=html)
    lines = [
        (dataset, kind, row, quantity, value)
        for dataset, numbers in parts.items()
        for kind, rows in numbers.items()
        for row, values in rows.items()
        for quantity, value in values.items()
    ]
    columns = ["dataset", "table", "row", "quantity", "value"]
    write_table(pd.DataFrame(lines, columns=columns), table)


def measure_audit(
    images: pd.DataFrame, thresholds: pd.DataFrame, group_pattern: str | None
) -> Numbers:
    """Return all numbers of one dataset's audit."""
    used = thresholds[thresholds["used"] == 1].iloc[0]
    listed = thresholds.drop(columns=["used", "origin"]).to_dict("records")
    chosen = {
        name: images[(images["split"] == split) & (images["label"] == label)]
        for (split, label), name in CLASSES.items()
    }
    return {
        "dataset": {"all": dataset_numbers(images, used, group_pattern)},
        "threshold": {f"{row.pop('threshold'):.9g}": row for row in listed},
        "class": {
            name: {
                f"{statistic}_{kind}": getattr(part[statistic], kind)()
                for statistic in STATISTICS
                for kind in ("mean", "std")
            }
            for name, part in chosen.items()
        },
        "auc": {
            f"{low} against {high}": {
                statistic: separability(chosen[low][statistic], chosen[high][statistic])
                for statistic in STATISTICS
            }
            for low, high in COMPARED
        },
    }


def dataset_numbers(
    images: pd.DataFrame, used: pd.Series, group_pattern: str | None
) -> dict[str, float]:
    """Return the numbers of the first table; `used` is the row of the threshold that is used."""
    test = images["split"] == "test"
    free = test & (images["twin"] == 0)
    abnormal = images["label"] == 1
    numbers = {
        "train_images": np.count_nonzero(~test),
        "test_normal_images": np.count_nonzero(test & ~abnormal),
        "test_abnormal_images": np.count_nonzero(test & abnormal),
        "threshold": used["threshold"],
        "threshold_is_calibrated": float(used["origin"] == "calibrated"),
        "test_identical": np.count_nonzero(test & (images["identical"] == 1)),
        "leak_free_normal": np.count_nonzero(free & ~abnormal),
        "leak_free_abnormal": np.count_nonzero(free & abnormal),
    }
    numbers |= used.drop(["threshold", "used", "origin"]).to_dict()
    if group_pattern is not None:
        patients = image_groups(list(images["id"].astype(str)), pattern=group_pattern)
        numbers["train_patients"] = len(set(patients[~test]))
        numbers["test_patients"] = len(set(patients[test]))
        numbers["patients_in_both"] = len(set(patients[~test]) & set(patients[test]))
    return numbers


def separability(low: pd.Series, high: pd.Series) -> float:
    """Return the AUC, in percent, of calling the lower numbers those of `low`."""
    labels = np.repeat([1, 0], [len(low), len(high)])
    scores = -np.concatenate([low, high])
    return 100 * image_metrics(labels=labels, scores=scores, what="images of the audit")["auc"]


def datasets_section(
    parts: Mapping[str, Numbers], names: Mapping[str, str], *, moved: bool
) -> Section:
    """Return the table with a column per dataset."""
    found = [parts[dataset]["dataset"]["all"] for dataset in names]
    lines = [describe_dataset(values, moved=moved) for values in found]
    text = DEFINITIONS.format(similarity=SIMILARITY[moved]) + UNMOVED_MEANS * moved
    return Section(
        heading="Copies",
        text=text,
        header=["", *names.values()],
        rows=[[title, *(line[title] for line in lines)] for title in lines[0]],
        align="l" + "r" * len(names),
    )


def describe_dataset(values: Mapping[str, float], *, moved: bool) -> dict[str, str]:
    """Return the cells of one dataset's column by the rows' titles."""

    def count(name: str) -> str:
        return f"{values[name]:.0f}"

    def with_twin(name: str) -> str:
        if not values[name]:
            return "0"
        text = f"{count(name)} ({100 * values[name] / values[f'{name}_images']:.1f} %)"
        return f"{text}, {count(f'{name}_unmoved')} unmoved" if moved else text

    patients = MISSING
    if "train_patients" in values:
        parts = (count(f"{part}_patients") for part in ("train", "test"))
        patients = f"{' + '.join(parts)}, {count('patients_in_both')} in both"
    origin = "calibrated" if values["threshold_is_calibrated"] else "configured"
    return {
        "Training images": count("train_images"),
        "Test images, normal + abnormal": f"{count('test_normal_images')} + "
        f"{count('test_abnormal_images')}",
        "Patients, training + test": patients,
        "Threshold": f"{values['threshold']:.4f}, {origin}",
        "Normal test images with a twin": with_twin("test_normal"),
        "Abnormal test images with a twin": with_twin("test_abnormal"),
        "Test images identical to a training image": count("test_identical"),
        "Training images with a twin": with_twin("train"),
        "Training images in a copy group with a test image": count("train_in_groups"),
        "Training images with a copy in training": count("train_copies"),
        "Test images with a copy in test": count("test_copies"),
        "Copy groups": count("copy_groups"),
        "Leak-free test images, normal + abnormal": f"{count('leak_free_normal')} + "
        f"{count('leak_free_abnormal')}",
    }


def thresholds_section(
    parts: Mapping[str, Numbers], names: Mapping[str, str], *, moved: bool
) -> Section:
    """Return the table with a row per dataset and threshold, the one that is used in words."""
    lines = []
    for dataset, name in names.items():
        used = parts[dataset]["dataset"]["all"]["threshold"]
        for threshold, values in parts[dataset]["threshold"].items():
            cells = [f"{values[key]:.0f}" for key in THRESHOLD_COUNTS]
            for place, key in enumerate(UNMOVED if moved else []):
                cells[place] += f" ({values[f'{key}_unmoved']:.0f})" if values[key] else ""
            mark = ", used" if np.isclose(float(threshold), used, rtol=0, atol=1e-9) else ""
            lines.append([name, f"{float(threshold):.4f}{mark}", *cells])
    return Section(
        heading="By threshold",
        text=BY_THRESHOLD + IN_PARENTHESES * moved,
        header=["Dataset", "Threshold", *THRESHOLD_COUNTS.values()],
        rows=lines,
        align="ll" + "r" * len(THRESHOLD_COUNTS),
    )


def classes_section(parts: Mapping[str, Numbers], names: Mapping[str, str]) -> Section:
    """Return the table of statistics by class, and of how well they tell classes apart."""
    lines = []
    for dataset, name in names.items():
        for row, values in parts[dataset]["class"].items():
            cells = [f"{values[f'{s}_mean']:.1f} ± {values[f'{s}_std']:.1f}" for s in STATISTICS]
            lines.append([name, f"{row} images", *cells])
        for row, values in parts[dataset]["auc"].items():
            lines.append([name, f"AUC: {row}", *(f"{values[s]:.1f}" for s in STATISTICS)])
    return Section(
        heading="What separates the classes without a model",
        text=SEPARABILITY,
        header=["Dataset", "Images", *STATISTICS.values()],
        rows=lines,
        align="ll" + "r" * len(STATISTICS),
    )


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(tabulate_audit, snakemake)
