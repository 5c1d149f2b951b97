"""Tabulate the audits of all datasets: copies, thresholds, and what separates classes by itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import read_table, write_table
from medae.data.groups import group_names, image_groups
from medae.duplicates.audit import leak_free
from medae.evaluation.ranking import image_metrics
from medae.report.tables import MISSING, Section, format_percent, write_sections

TITLE = "Audit of the datasets"
STATISTICS = {"brightness": "Brightness", "contrast": "Contrast", "total_variation": "Variation"}
CLASSES = {"training": ("train", 0), "normal test": ("test", 0), "abnormal test": ("test", 1)}
COMPARED = [("abnormal test", "normal test"), ("normal test", "training")]
TWINS = {"test_normal": "Normal test", "test_abnormal": "Abnormal test", "train": "Training"}
THRESHOLD_COUNTS = TWINS | {
    "train_copies": "Copies in training",
    "test_copies": "Copies in test",
    "copy_groups": "Copy groups",
}
DATASET_ROWS = {  # title: cell, of the numbers and texts of one dataset
    "Training images": "{train_images}",
    "Test images, normal + abnormal": "{test_normal_images} + {test_abnormal_images}",
    "Patients, training + test": "{patients}",
    "Threshold": "{threshold:.4f}, {origin}",
    "Normal test images with a twin": "{test_normal_twins}",
    "Abnormal test images with a twin": "{test_abnormal_twins}",
    "Test images identical to a training image": "{test_identical}",
    "Training images with a twin": "{train_twins}",
    "Training images in a copy group with a test image": "{train_in_groups}",
    "Training images with a copy in training": "{train_copies}",
    "Test images with a copy in test": "{test_copies}",
    "Copy groups": "{copy_groups}",
    "Abnormal test images with a normal copy": "{label_conflicts}",
    "Leak-free test images, normal + abnormal": "{leak_free_normal} + {leak_free_abnormal}",
}
PATIENTS = "{train_patients} + {test_patients}, {patients_in_both} in both"
NO_PATIENT = "; {train_unnamed} + {test_unnamed} images whose patient is not known"
SIMILARITY = {
    True: "the highest correlation of their pixels, as grey images of at most 64 × 64, over the "
    "eight ways to mirror and rotate one of them",
    False: "the correlation of their pixels, as grey images of at most 64 × 64",
}
DEFINITIONS = (
    "The similarity of two images is {similarity}. Two images are copies when it reaches the "
    "threshold or their pixels are identical. A twin of an image is a copy of it in the other "
    "split. A copy group is a set of two or more images that are linked by copies. The leak-free "
    "test images are those without a twin, and of patients without an image in training. An "
    "abnormal image with a normal copy is a conflict of labels, or a neighbouring slice. A "
    "calibrated threshold is one that at most 1 in 1000 "
    "normal images reaches with an image of another patient; a configured one is set where no "
    "patients are known. Copies within one split can also be neighbouring slices of one patient."
)
PATIENT_LEAK = (
    " WARNING: {test_of_patients_in_both} test images of {name} are of patients who have images in "
    "training too, so its full test set is not independent; the leak-free one is without them."
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
    audits: dict[str, Numbers] = {}
    for dataset, *paths, pattern in zip(names, images, thresholds, group_patterns, strict=True):
        audits[dataset] = measure_audit(*map(read_table, paths), pattern)
    named = [(name, audits[dataset]) for dataset, name in names.items()]
    warnings = [
        PATIENT_LEAK.format(**numbers["dataset"]["all"], name=name)
        for name, numbers in named
        if numbers["dataset"]["all"].get("test_of_patients_in_both")
    ]
    columns = [dataset_cells(numbers["dataset"]["all"], moved=moved) for _, numbers in named]
    sections = [
        Section(
            "Copies",
            DEFINITIONS.format(similarity=SIMILARITY[moved])
            + UNMOVED_MEANS * moved
            + "".join(warnings),
            header=["", *names.values()],
            rows=[[title, *(cells[title] for cells in columns)] for title in DATASET_ROWS],
            align="l" + "r" * len(names),
        ),
        Section(
            "By threshold",
            BY_THRESHOLD + IN_PARENTHESES * moved,
            header=["Dataset", "Threshold", *THRESHOLD_COUNTS.values()],
            rows=[line for one in named for line in threshold_lines(*one, moved=moved)],
            align="ll" + "r" * len(THRESHOLD_COUNTS),
        ),
        Section(
            "What separates the classes without a model",
            SEPARABILITY,
            header=["Dataset", "Images", *STATISTICS.values()],
            rows=[line for one in named for line in class_lines(*one)],
            align="ll" + "r" * len(STATISTICS),
        ),
    ]
    write_sections(TITLE, sections, markdown=markdown, html=html)
    lines = [
        (dataset, kind, row, quantity, value)
        for dataset, numbers in audits.items()
        for kind, rows in numbers.items()
        for row, values in rows.items()
        for quantity, value in values.items()
    ]
    keys = ["dataset", "table", "row", "quantity", "value"]
    write_table(pd.DataFrame(lines, columns=keys), table)


def measure_audit(
    images: pd.DataFrame, thresholds: pd.DataFrame, group_pattern: str | None
) -> Numbers:
    """Return all numbers of one dataset's audit."""
    parts = {
        name: images[(images["split"] == split) & (images["label"] == label)]
        for name, (split, label) in CLASSES.items()
    }
    counts = thresholds.drop(columns=["used", "origin"]).to_dict("records")
    found: Numbers = {
        "dataset": {"all": dataset_numbers(images, parts, thresholds, group_pattern)},
        "threshold": {f"{row.pop('threshold'):.9g}": row for row in counts},
        "class": {name: {} for name in parts},
        "auc": {},
    }
    for statistic in STATISTICS:
        for name, part in parts.items():
            found["class"][name][f"{statistic}_mean"] = part[statistic].mean()
            found["class"][name][f"{statistic}_std"] = part[statistic].std()
        for low, high in COMPARED:
            auc = separability(parts[low][statistic], parts[high][statistic])
            found["auc"].setdefault(f"{low} against {high}", {})[statistic] = auc
    return found


def dataset_numbers(
    images: pd.DataFrame,
    parts: Mapping[str, pd.DataFrame],
    thresholds: pd.DataFrame,
    group_pattern: str | None,
) -> dict[str, float]:
    """Return the numbers of the first table; `parts` are the rows of `images` by class."""
    used = thresholds[thresholds["used"] == 1].iloc[0]
    normal, abnormal = parts["normal test"], parts["abnormal test"]
    numbers = {
        "train_images": len(parts["training"]),
        "test_normal_images": len(normal),
        "test_abnormal_images": len(abnormal),
        "threshold": used["threshold"],
        "threshold_is_calibrated": float(used["origin"] == "calibrated"),
        "test_identical": sum(images.loc[images["split"] == "test", "identical"] == 1),
        "label_conflicts": sum(
            abnormal["copy_group"].isin(images.loc[images["label"] == 0, "copy_group"])
        ),
        "leak_free_normal": sum(leak_free(normal)),
        "leak_free_abnormal": sum(leak_free(abnormal)),
    }
    numbers |= used.drop(["threshold", "used", "origin"]).to_dict()
    if group_pattern is not None:
        ids = list(images["id"].astype(str))
        patients = image_groups(ids, pattern=group_pattern)
        unnamed = np.array([name is None for name in group_names(ids, pattern=group_pattern)])
        if unnamed.any():
            for split in ("train", "test"):
                numbers[f"{split}_unnamed"] = sum(unnamed & (images["split"] == split))
        train, test = (set(patients[images["split"] == split]) for split in ("train", "test"))
        numbers["train_patients"], numbers["test_patients"] = len(train), len(test)
        numbers["patients_in_both"] = len(train & test)
        of_test = images.loc[images["split"] == "test", "patient_in_both"]
        numbers["test_of_patients_in_both"] = int(of_test.sum())
    return numbers


def separability(low: pd.Series, high: pd.Series) -> float:
    """Return the AUC, in percent, of calling the lower numbers those of `low`; nan without any."""
    if low.empty or high.empty:
        return np.nan
    labels = np.repeat([1, 0], [len(low), len(high)])
    scores = -np.concatenate([low, high])
    return 100 * image_metrics(labels=labels, scores=scores, what="images of the audit")["auc"]


def dataset_cells(numbers: Mapping[str, float], *, moved: bool) -> dict[str, str]:
    """Return the cells of one dataset's column by the rows' titles."""
    origin = "calibrated" if numbers["threshold_is_calibrated"] else "configured"
    patients = PATIENTS.format(**numbers) if "train_patients" in numbers else MISSING
    if "train_unnamed" in numbers:
        patients += NO_PATIENT.format(**numbers)
    texts = {"origin": origin, "patients": patients}
    for key in TWINS:
        text = str(numbers[key])
        if numbers[key]:
            text += f" ({100 * numbers[key] / numbers[f'{key}_images']:.1f} %)"
            text += f", {numbers[f'{key}_unmoved']} unmoved" * moved
        texts[f"{key}_twins"] = text
    return {title: cell.format(**numbers, **texts) for title, cell in DATASET_ROWS.items()}


def threshold_lines(name: str, numbers: Numbers, *, moved: bool) -> list[list[str]]:
    """Return a dataset's row for each threshold, the one that is used in words."""
    used = numbers["dataset"]["all"]["threshold"]
    lines = []
    for threshold, counts in numbers["threshold"].items():
        cells = {key: str(counts[key]) for key in THRESHOLD_COUNTS}
        for key in TWINS if moved else []:
            cells[key] += f" ({counts[f'{key}_unmoved']})" if counts[key] else ""
        mark = ", used" if np.isclose(float(threshold), used, rtol=0, atol=1e-9) else ""
        lines.append([name, f"{float(threshold):.4f}{mark}", *cells.values()])
    return lines


def class_lines(name: str, numbers: Numbers) -> list[list[str]]:
    """Return a dataset's rows of statistics by class, and of how well they tell classes apart."""
    lines = []
    for row, values in numbers["class"].items():
        cells = [format_percent(values[f"{s}_mean"], values[f"{s}_std"]) for s in STATISTICS]
        lines.append([name, f"{row} images", *cells])
    for row, values in numbers["auc"].items():
        cells = [format_percent(values[s], np.nan) for s in STATISTICS]
        lines.append([name, f"AUC: {row}", *cells])
    return lines


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(tabulate_audit, snakemake)
