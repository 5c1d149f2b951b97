"""Folder layouts of datasets: which files are training and test images, their labels and masks.

A layout is a function from a dataset's root folder to its `Record`s, registered in `LAYOUTS`; a
new one needs no other change here, since `read_layout` checks every layout's records alike. No
image is opened here.
"""

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pandas as pd

from medae.base.errors import InputError
from medae.data.formats import SUFFIXES

logger = logging.getLogger(__name__)

ISIC_NORMAL_CLASS = "NV"  # melanocytic nevus, by far the most frequent class of ISIC 2018
CLASSES = {  # key in the registry's `expected`: (split, label)
    "train": ("train", 0),
    "test_normal": ("test", 0),
    "test_abnormal": ("test", 1),
}


@dataclass(frozen=True)
class Record:
    """One image of a dataset."""

    split: str  # "train" or "test"
    id: str  # posix path relative to the dataset's root folder
    label: int  # 0 normal, 1 abnormal; training images are normal
    image: Path
    mask: Path | None = None  # of abnormal test images, where the dataset has masks


def name_some(names: Iterable[str], limit: int = 5) -> str:
    """Quote the first `limit` of the sorted names and count the others, for a message."""
    quoted = [repr(str(name)) for name in sorted(names)]
    hidden = len(quoted) - limit
    return ", ".join(quoted[:limit]) + (f" and {hidden} more" if hidden > 0 else "")


def read_layout(root: Path, layout: str) -> list[Record]:
    """Return the records of the dataset in `root`: training first, each split sorted by id.

    Raises InputError when the folder or a listed file is missing, when an image is listed twice,
    when a name cannot be stored, when a class has no image, or as the layout itself does.
    """
    if not root.is_dir():
        raise InputError(
            f"The dataset folder {root} does not exist. Put the dataset there, or correct `path` "
            "or `folder` in its registry entry, or `data_dir`."
        )
    records = LAYOUTS[layout](root)
    check_names(root, records)
    classes: dict[str, list[str]] = defaultdict(list)
    for record in records:
        classes[record.id].append(f"{record.split} {record.label}")
    repeated = [f"{n} ({' and '.join(found)})" for n, found in classes.items() if len(found) > 1]
    if repeated:
        raise InputError(
            f"{len(repeated)} images of the dataset in {root} are listed more than once (split and "
            f"label): {name_some(repeated)}. Keep each image in one list, once."
        )
    files = [path for record in records for path in (record.image, record.mask) if path]
    # Unlike Path.is_file, os.path.isfile is False for a name that is too long.
    missing = [p.relative_to(root).as_posix() for p in files if not os.path.isfile(p)]  # noqa: PTH113
    if missing:
        raise InputError(
            f"{len(missing)} of {len(files)} listed files are missing in {root}: "
            f"{name_some(missing)}. Unpack or copy the dataset again, or take the names off its "
            "list."
        )
    counts = count_classes(records)
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise InputError(
            f"The dataset in {root} has no image of {' and '.join(empty)}. Training needs normal "
            "images, and the test needs both normal and abnormal ones."
        )
    logger.info("%s holds %s", root, counts)
    return sorted(records, key=lambda record: (record.split == "test", record.id))


def count_classes(records: Iterable[Record]) -> dict[str, int]:
    """Return the number of images of train, test_normal and test_abnormal."""
    found = Counter((record.split, record.label) for record in records)
    return {name: found[key] for name, key in CLASSES.items()}


def check_counts(root: Path, records: Iterable[Record], expected: Mapping[str, int] | None) -> None:
    """Raise InputError unless the numbers of images are those of `expected` (keys of CLASSES).

    Also when there are fewer than two training images, with which BatchNorm cannot be trained.
    """
    counts = count_classes(records)
    if counts["train"] < 2:
        raise InputError(
            f"The dataset in {root} has {counts['train']} training image(s); at least 2 are needed."
            " Add normal training images."
        )
    wrong = [
        f"{counts[name]} instead of {number} of {name}"
        for name, number in (expected or {}).items()
        if counts[name] != number
    ]
    if wrong:
        raise InputError(
            f"The dataset in {root} has another number of images than the registry expects: "
            f"{', '.join(wrong)}. Unpack or copy it again; if this is meant to be another version, "
            "change `expected` in its registry entry or remove it."
        )


def _split_json(root: Path) -> list[Record]:
    """Read `images/` and `data.json`: {"train": {"0": names}, "test": {"0": names, "1": names}}."""
    source = root / "data.json"
    wanted = 'It has to be {"train": {"0": [names]}, "test": {"0": [names], "1": [names]}}.'
    records = []
    try:
        lists = json.loads(source.read_bytes())
        for split, label in CLASSES.values():
            names = lists[split][str(label)]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise TypeError(f'"{split}" → "{label}" is not a list of file names')
            records += _class(root, split, label, _inside(root / "images", names, source))
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise InputError(f"Cannot read the split {source}: {error!r}. {wanted}") from error
    return records


def _brats(root: Path) -> list[Record]:
    """Read `train/` and `test/{normal,tumor,annotation}`; `…flair…` has the mask `…seg…`."""
    records = _folders(root, "train", "test/normal", "test/tumor")
    return _add_masks(records, root / "test/annotation", "flair", "seg")


def _folder(root: Path) -> list[Record]:
    """Read `train/normal`, `test/{normal,abnormal}` and, if there, `test/mask`.

    A mask has the name of its abnormal image up to the suffix.
    """
    records = _folders(root, "train/normal", "test/normal", "test/abnormal")
    masks = root / "test/mask"
    return _add_masks(records, masks) if masks.is_dir() else records


def _good_ungood(root: Path) -> list[Record]:
    """Read `train/good` and `test/{good,Ungood}` (Camelyon16 of MedIAnomaly)."""
    return _folders(root, "train/good", "test/good", "test/Ungood")


def _isic(root: Path) -> list[Record]:
    """Read the folders of ISIC 2018 task 3; class NV is normal, and training takes only that."""
    records = []
    for part, split in (("Training", "train"), ("Test", "test")):
        name = f"ISIC2018_Task3_{part}"
        table = root / f"{name}_GroundTruth" / f"{name}_GroundTruth.csv"
        try:
            rows = pd.read_csv(table, usecols=["image", ISIC_NORMAL_CLASS], dtype={"image": str})
            if not rows[ISIC_NORMAL_CLASS].isin([0.0, 1.0]).all():
                raise ValueError(f"{ISIC_NORMAL_CLASS} is not always 0 or 1")
        except (OSError, ValueError) as error:
            raise InputError(
                f"Cannot read the labels {table}: {error}. It has to be the CSV file of the "
                f"challenge, with the columns image and {ISIC_NORMAL_CLASS}. Download the ground "
                "truth again."
            ) from error
        for label, value in ((0, 1.0), (1, 0.0))[: 1 if split == "train" else 2]:
            names = [f"{image}.jpg" for image in rows["image"][rows[ISIC_NORMAL_CLASS] == value]]
            records += _class(root, split, label, _inside(root / f"{name}_Input", names, table))
    return records


# The layouts that a registry entry can name.
LAYOUTS: dict[str, Callable[[Path], list[Record]]] = {
    "split_json": _split_json,
    "brats": _brats,
    "folder": _folder,
    "isic": _isic,
    "good_ungood": _good_ungood,
}
LAYOUTS_WITH_MASKS = ["brats", "folder"]


def _class(root: Path, split: str, label: int, images: list[Path]) -> list[Record]:
    return [Record(split, path.relative_to(root).as_posix(), label, path) for path in images]


def _folders(root: Path, *folders: str) -> list[Record]:
    """Return the images of the folders of train, test_normal and test_abnormal."""
    records = []
    for (split, label), folder in zip(CLASSES.values(), folders, strict=True):
        records += _class(root, split, label, images_in(root / folder))
    return records


def _inside(folder: Path, names: list[str], source: Path) -> list[Path]:
    """Return the paths of the names that `source` lists; none may lead out of `folder`."""
    paths = {name: PurePosixPath(name) for name in names}
    refused = [n for n, p in paths.items() if not p.parts or p.is_absolute() or ".." in p.parts]
    if refused:
        raise InputError(
            f"{source} lists {len(refused)} names that are not those of files in {folder}: "
            f"{name_some(refused)}. Names are relative to that folder and do not leave it."
        )
    return [folder / name for name in names]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def images_in(folder: Path) -> list[Path]:
    """Return the image files in `folder`, not those of its folders, and log what is ignored."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"Cannot list the folder {folder}: {error.strerror}. Create it with its images, or "
            "name another `layout` in the dataset's registry entry."
        ) from error
    # A link to nowhere is kept, so that it is reported as missing.
    visible = [entry for entry in entries if _is_image(entry) and not entry.name.startswith(".")]
    images = [entry for entry in visible if not entry.is_dir()]
    nested = [entry.name for entry in entries if any(map(_is_image, entry.rglob("*")))]
    if nested:
        raise InputError(
            f"{folder} has folders with images in it, which would be left out: {name_some(nested)}."
            " Move their images into the folder itself, or the folders elsewhere."
        )
    if ignored := {entry.name for entry in entries} - {image.name for image in images}:
        what = "ignored in %s, not being visible image files: %s"
        logger.warning(what, folder, name_some(ignored))
    if not images:
        raise InputError(
            f"There is no image in {folder}. It takes files that end in "
            f"{', '.join(sorted(SUFFIXES))}; convert other formats (DICOM, NIfTI) to 8- or "
            "16-bit PNG."
        )
    return images


def _add_masks(
    records: list[Record], folder: Path, word: str = "", mask_word: str = ""
) -> list[Record]:
    """Give each abnormal image the mask of the same stem, `word` in it being `mask_word`."""
    files = images_in(folder)
    stem_of = {r.id: r.image.stem.replace(word, mask_word) for r in records if r.label}
    images, mask_of = set(stem_of.values()), {mask.stem: mask for mask in files}
    claims = Counter([*stem_of.values(), *(mask.stem for mask in files)])
    problems = {
        "abnormal images without a mask": images - set(mask_of),
        "masks without an abnormal image": set(mask_of) - images,
        "mask names that more than one file claims": {
            stem for stem in images & set(mask_of) if claims[stem] > 2
        },
    }
    found = [
        f"{len(stems)} {what}: {name_some(stems)}" for what, stems in problems.items() if stems
    ]
    if found:
        rule = f"the image's with {word!r} replaced by {mask_word!r}" if word else "the image's"
        raise InputError(
            f"Abnormal images and the masks in {folder} do not pair up; names without suffix: "
            f"{'; '.join(found)}. A mask's name is {rule}. Rename, add or remove files."
        )
    return [replace(r, mask=mask_of[stem_of[r.id]]) if r.label else r for r in records]


def check_names(root: Path, records: list[Record]) -> None:
    """Raise InputError when a record's id cannot be stored as text."""
    ids = [record.id for record in records]
    refused = [n for n in ids if "\0" in n or n.encode(errors="replace").decode() != n]
    if refused:
        raise InputError(
            f"{len(refused)} file names in {root} are not UTF-8 text and cannot be stored: "
            f"{name_some(refused)}. Rename them."
        )
