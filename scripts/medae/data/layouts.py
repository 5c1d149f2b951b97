"""Folder layouts of datasets: which files are training and test images, their labels and masks.

A layout is a function from a dataset's root folder to its `Record`s, registered in `LAYOUTS`; a
new one needs no other change here, since `read_layout` checks every layout's records alike. No
image is decoded here.
"""

import json
import logging
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import pandas as pd

from medae.base.errors import InputError
from medae.data.formats import SUFFIXES, is_image, is_volume, stem

logger = logging.getLogger(__name__)

ISIC_NORMAL_CLASS = "NV"  # melanocytic nevus, by far the most frequent class of ISIC 2018
QUOTED = 5  # names in a message
CLASSES = {  # key in the registry's `expected`: (split, label)
    "train": ("train", 0),
    "test_normal": ("test", 0),
    "test_abnormal": ("test", 1),
}


@dataclass(frozen=True)
class Record:
    """One image of a dataset."""

    split: str  # "train" or "test"
    id: str  # posix path in the root folder, a slice with its number; `table`: patient<n>/ before
    label: int  # 0 normal, 1 abnormal; training images are normal
    image: Path
    mask: Path | None = None  # of test images, where the dataset has masks
    slice: int | None = None  # its number in a volume, along the axis of VolumeOptions


@dataclass(frozen=True)
class VolumeOptions:
    """The registry's `volumes`: which slices of NIfTI files are images, and how files are named."""

    axis: str = "axial"  # or coronal, sagittal
    first: int = 0  # number of a slice, from the feet, the front or the right
    last: int | None = None  # number; None: to the end
    step: int = 1
    image: str = "flair"  # how the names of images end, in the layout `volumes`
    mask: str = "seg"  # how those of masks end
    test_share: float = 0.2  # of the patients, where no folder says who is for the test


def name_some(names: Iterable[str]) -> str:
    """Quote the first QUOTED of the sorted names and count the others, for a message."""
    quoted = [repr(str(name)) for name in sorted(names)]
    hidden = len(quoted) - QUOTED
    return ", ".join(quoted[:QUOTED]) + (f" and {hidden} more" if hidden > 0 else "")


def read_layout(root: Path, layout: str, volumes: VolumeOptions | None = None) -> list[Record]:
    """Return a record per file of the dataset in `root`, training first; a volume is one.

    Raises InputError when the folder or a listed file is missing, when an image is listed twice,
    when a name cannot be stored, or as the layout itself does.
    """
    if not root.is_dir():
        raise InputError(
            f"The dataset folder {root} does not exist. Put the dataset there, or correct `path` "
            "or `folder` in its registry entry, or `data_dir`."
        )
    volumes = volumes or VolumeOptions()
    entry = LAYOUTS[layout]
    records = entry.read(root, volumes) if entry.of_volumes else entry.read(root)
    check_names(root, records)
    # By file, not by id: a table's ids have the patient too.
    classes: dict[str, list[str]] = defaultdict(list)
    for record in records:
        name = record.image.relative_to(root).as_posix()
        classes[name].append(f"{record.split} {record.label}")
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
    if entry.group_pattern is None and any(is_volume(record.image) for record in records):
        raise InputError(
            f"The dataset in {root} has volumes, whose slices are of one patient, but its layout "
            f"{layout} knows no patients. Set `layout: patients` or `layout: volumes` in its "
            "registry entry; see config/README.md."
        )
    return sort_records(records)


def sort_records(records: Iterable[Record]) -> list[Record]:
    """Return the training records first, each split sorted by id."""
    return sorted(records, key=lambda record: (record.split == "test", record.id))


def count_classes(records: Iterable[Record]) -> dict[str, int]:
    """Return the number of images of train, test_normal and test_abnormal."""
    found = Counter((record.split, record.label) for record in records)
    return {name: found[key] for name, key in CLASSES.items()}


def check_counts(
    root: Path, layout: str, records: Iterable[Record], expected: Mapping[str, int] | None = None
) -> None:
    """Raise InputError unless the numbers of images are those of `expected` (keys of CLASSES).

    Also when a class has none, unless `expected` says 0 of it, and when there are fewer than two
    training images, with which BatchNorm cannot be trained.
    """
    expected = expected or {}
    counts = count_classes(records)
    empty = [name for name, count in counts.items() if not count]
    if any(expected.get(name) != 0 for name in empty):
        meant = ", ".join(f"{name}: 0" for name in empty)
        advice = (
            f" If there are none, set `expected: {{{meant}}}` in the registry entry: then models "
            "and scores are made without metrics."
        )
        raise InputError(
            f"The dataset in {root} has no image of {' and '.join(empty)} where the layout "
            f"{layout} looks for them (see config/README.md). Training needs normal images, and "
            "metrics need both normal and abnormal test images." + advice * ("train" not in empty)
        )
    if counts["train"] < 2:
        raise InputError(
            f"The dataset in {root} has {counts['train']} training image(s); at least 2 are needed."
            " Add normal training images."
        )
    wrong = [
        f"{counts[name]} instead of {number} of {name}"
        for name, number in expected.items()
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
    classes = ("train", "test/normal", "test/tumor")
    records = _folders(root, *classes)
    return _add_masks(records, root, "test/annotation", classes[1:], words=("flair", "seg"))


def _folder(root: Path, *, nested: bool = False) -> list[Record]:
    """Read `train/normal`, `test/{normal,abnormal}` and, if there, `test/mask`.

    A mask has the name of its image up to the ending, or that with `_mask`.
    """
    classes = ("train/normal", "test/normal", "test/abnormal")
    records = _folders(root, *classes, nested=nested)
    return _add_masks(records, root, "test/mask", classes[1:], nested=nested, optional=True)


def _mvtec(root: Path) -> list[Record]:
    """Read `train/good`, `test/{good,<kind>}` and `ground_truth/<kind>/<name>_mask`."""
    records = _class(root, "train", 0, images_in(root / "train/good"))
    for kind in sorted(_folders_in(root / "test")) if (root / "test").exists() else []:
        records += _class(root, "test", int(kind.name != "good"), images_in(kind))
    bases = ("test", "test")
    return _add_masks(records, root, "ground_truth", bases, nested=True, optional=True)


def _volumes(root: Path, options: VolumeOptions) -> list[Record]:
    """Read a folder of volumes per patient, as BraTS is distributed: `<patient>/*_flair.nii.gz`.

    Patients are those in `train/` and `test/`, or, where these folders are not there, a
    `test_share` of all, drawn with a fixed seed, is for the test.
    """
    parts = {split: root / split for split in ("train", "test")}
    if all(part.is_dir() for part in parts.values()):
        patients = {split: _folders_in(part) for split, part in parts.items()}
    else:
        found = sorted(_folders_in(root))
        random.Random(0).shuffle(found)
        count = round(options.test_share * len(found))
        patients = {"test": found[:count], "train": found[count:]}
    records, faults = [], []
    for split, folders in patients.items():
        for folder in folders:
            shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
            files = [path for path in shown if is_volume(path)]
            images, masks = (
                [path for path in files if stem(path).endswith(word)]
                for word in (options.image, options.mask)
            )
            if len(images) == len(masks) == 1:
                records += [
                    replace(record, mask=masks[0])
                    for record in _class(root, split, int(split == "test"), images)
                ]
            else:
                faults.append(folder.relative_to(root).as_posix())
    if faults or not records:
        raise InputError(
            f"The layout `volumes` takes one NIfTI file that ends in {options.image!r} and one "
            f"that ends in {options.mask!r} of every patient's folder, which is not so in "
            f"{name_some(faults) or root}. Add or move files, or set `volumes: {{image: …, mask: "
            "…}` in the registry entry."
        )
    return records


TABLE_COLUMNS = ["image", "split", "label", "patient"]


def _table(root: Path) -> list[Record]:
    """Read `table.csv`: image, split, label, patient and perhaps mask, of images anywhere below.

    Patients are numbered in the order of the table; their names go no further.
    """
    source = root / "table.csv"
    try:
        rows = pd.read_csv(source, dtype=str, keep_default_na=False, skipinitialspace=True)
        wanted = [*TABLE_COLUMNS, "mask"]
        if not set(TABLE_COLUMNS) <= set(rows) <= set(wanted):
            raise ValueError(f"its columns are {', '.join(map(str, rows))}")
        labels = {"0": 0, "1": 1, "normal": 0, "abnormal": 1}
        for number, (split, label) in enumerate(zip(rows["split"], rows["label"], strict=True), 2):
            if (split, labels.get(label)) not in CLASSES.values():
                raise ValueError(f"line {number} has the split {split!r} and the label {label!r}")
        if not rows["patient"].all():
            raise ValueError("some images have no patient")
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot read the table {source}: {error}. It has to be a CSV file with the columns "
            "image (a path below its folder), split (train or test), label (0 or normal, 1 or "
            "abnormal; training images are normal), patient and perhaps mask."
        ) from error
    images = _inside(root, list(rows["image"]), source)
    masks = list(rows.get("mask", [""] * len(rows)))
    _inside(root, [mask for mask in masks if mask], source)
    numbers = pd.factorize(rows["patient"])[0] + 1
    return [
        Record(
            split,
            f"patient{number}/{path.relative_to(root).as_posix()}",
            labels[label],
            path,
            root / mask if mask else None,
        )
        for split, label, number, path, mask in zip(
            rows["split"], rows["label"], numbers, images, masks, strict=True
        )
    ]


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


@dataclass(frozen=True)
class Layout:
    """A way in which a dataset's folder is organised."""

    read: Callable[..., list[Record]]  # of the root folder
    masks: bool = False
    group_pattern: str | None = None  # finds the patient in ids, where an entry has none
    of_volumes: bool = False  # `read` takes VolumeOptions too


# The layouts that a registry entry can name.
LAYOUTS: dict[str, Layout] = {
    "split_json": Layout(_split_json),
    "brats": Layout(_brats, masks=True),
    "folder": Layout(_folder, masks=True),
    "patients": Layout(
        partial(_folder, nested=True), masks=True, group_pattern=r"^(?:train|test)/\w+/([^/]+)/"
    ),
    "mvtec": Layout(_mvtec, masks=True),
    "isic": Layout(_isic),
    "table": Layout(_table, masks=True, group_pattern=r"^(patient\d+)/"),
    "volumes": Layout(_volumes, masks=True, group_pattern=r"([^/]+)/[^/]+/\d+$", of_volumes=True),
}
LAYOUTS_WITH_MASKS = [name for name, layout in LAYOUTS.items() if layout.masks]
LAYOUTS_WITH_PATIENTS = [name for name, layout in LAYOUTS.items() if layout.group_pattern]


def _class(root: Path, split: str, label: int, images: list[Path]) -> list[Record]:
    return [Record(split, path.relative_to(root).as_posix(), label, path) for path in images]


def _folders(root: Path, *folders: str, nested: bool = False) -> list[Record]:
    """Return the images of the folders of train, test_normal and test_abnormal."""
    records = []
    for (split, label), folder in zip(CLASSES.values(), folders, strict=True):
        images = images_in(root / folder, nested=nested, optional=split == "test")
        records += _class(root, split, label, images)
    return records


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"Cannot list the folder {folder}: {error.strerror}. Create it with its images, or "
            "name another `layout` in the dataset's registry entry."
        ) from error


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not path.name.startswith(".")]


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


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, through links, but none twice where links lead in circles."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names))


def images_in(folder: Path, *, nested: bool = False, optional: bool = False) -> list[Path]:
    """Return the image files in `folder`, and with `nested` those of its folders.

    Logs which files are ignored; without `nested` raises InputError for images in folders, and when
    there is none unless it is `optional`.
    """
    if optional and not folder.exists():
        return []
    entries = _entries(folder)
    if nested:
        entries = list(files_below(folder))
    # A link to nowhere is kept, so that it is reported as missing.
    images = [
        entry
        for entry in entries
        if not entry.name.startswith(".") and not entry.is_dir() and is_image(entry)
    ]
    within = [entry for entry in entries if entry.is_dir()]
    skipped = [entry.name for entry in within if any(map(is_image, files_below(entry)))]
    if skipped:
        raise InputError(
            f"{folder} has folders with images in it, which would be left out: "
            f"{name_some(skipped)}. If they are patients, set `layout: patients` in the dataset's "
            "registry entry; else move their images into the folder itself, or the folders "
            "elsewhere."
        )
    if ignored := {entry.name for entry in entries} - {image.name for image in images}:
        what = "ignored in %s, not being visible image files: %s"
        logger.warning(what, folder, name_some(ignored))
    if not images and not optional:
        raise InputError(
            f"There is no image in {folder}. It takes files that end in "
            f"{', '.join(sorted(SUFFIXES))}, and DICOM files of any name."
        )
    return images


def _add_masks(
    records: list[Record],
    root: Path,
    folder: str,
    bases: tuple[str, str],
    *,
    words: tuple[str, str] = ("", ""),
    nested: bool = False,
    optional: bool = False,
) -> list[Record]:
    """Give test images their masks in `folder`, all of them where it is `optional` and missing.

    A mask lies in it as its image does in its class's folder, one of `bases` (normal, abnormal),
    and has its name up to the ending, the first of `words` being the second, or that with `_mask`.
    Normal images may have one, and some abnormal ones none.
    """
    if optional and not (root / folder).is_dir():
        return records

    def name(path: Path, base: str) -> str:
        return path.relative_to(root / base).with_name(stem(path)).as_posix()

    files = defaultdict(list)
    for mask in images_in(root / folder, nested=nested):
        files[name(mask, folder)].append(mask)
    mask_of, claims = {}, Counter()
    for record in sorted(records, key=lambda record: -record.label):
        if record.split == "train":
            continue
        path = record.image.with_name(record.image.name.replace(*words))
        own = name(path, bases[record.label])
        found = next((one for one in (own, f"{own}_mask") if one in files), None)
        if found is not None and (record.label or not claims[found]):
            claims[found] += 1
            mask_of[record.id] = files[found][0]
    abnormal = {record.id for record in records if record.label}
    bare = abnormal - set(mask_of)
    problems = {
        "masks without an image": [one for one in files if not claims[one]],
        "mask names that more than one file claims": [
            one for one in files if claims[one] and claims[one] + len(files[one]) > 2
        ],
    }
    if bare == abnormal or any(problems.values()):
        problems["abnormal images without a mask"] = sorted(bare)
    found = [
        f"{len(names)} {what}: {name_some(names)}" for what, names in problems.items() if names
    ]
    if found:
        replaced = f" with {words[0]!r} replaced by {words[1]!r}" if words[0] else ""
        raise InputError(
            f"Images and the masks in {root / folder} do not pair up: {'; '.join(found)}. A mask's "
            f"name is its image's{replaced}, or that with '_mask', up to the ending. Rename, add "
            "or remove files."
        )
    return [replace(record, mask=mask_of.get(record.id)) for record in records]


def check_names(root: Path, records: list[Record]) -> None:
    """Raise InputError when a record's id cannot be stored as text."""
    ids = [record.id for record in records]
    refused = [n for n in ids if "\0" in n or n.encode(errors="replace").decode() != n]
    if refused:
        raise InputError(
            f"{len(refused)} file names in {root} are not UTF-8 text and cannot be stored: "
            f"{name_some(refused)}. Rename them."
        )
