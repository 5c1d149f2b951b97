"""Rebuild RSNA from two public collections that hold its images; run by hand, outside Snakemake.

    python scripts/rebuild_rsna.py RADIOGRAPHY QU_EX --out data/RSNA_public

RADIOGRAPHY is the unpacked COVID-19 Radiography Database (Kaggle, tawsifurrahman), QU_EX the folder
"Infection Segmentation Data" of the unpacked COVID-QU-Ex (Kaggle, anasmohammedtahir). Their images
are found by name in any folder below, those of masks excepted. OUT gets `images/`, grey PNG of 128
× 128 pixels, and `data.json`. Which numbers of which collection: workflow/resources/
rsna_public.tsv. Training images are `Normal` ones of RADIOGRAPHY from number 1501 on, below which
images of children from another source lie, but those that QU_EX's normal class has too (correlation
above 0.98). Abnormal ones are RSNA's label Lung Opacity: 217 of the 463 were matched to the
challenge's ids and labels, the others follow from QU_EX's numbering. Fails, and writes nothing,
when OUT has something in it, or an image is missing, unreadable, or there under the same name with
other contents.
"""

import argparse
import json
import logging
import os
from collections import defaultdict
from pathlib import Path

from PIL import Image

from medae.base.errors import InputError
from medae.base.files import atomic_folder, read_table, write_text
from medae.data.layouts import CLASSES, name_some

logger = logging.getLogger(__name__)

SPLIT = Path(__file__).resolve().parents[1] / "workflow/resources/rsna_public.tsv"
SIZE = 128  # pixels, twice the side that networks see
NAMES = {  # collection, name there, name here
    "train": ("radiography", "Normal-{}.png", "normal_{:05d}.png"),
    "test_normal": ("qu_ex", "Normal ({}).png", "test_normal_{:05d}.png"),
    "test_abnormal": ("qu_ex", "non_COVID ({}).png", "test_opacity_{:05d}.png"),
}


def read_split(path: Path) -> dict[str, list[int]]:
    """Return the numbers of each class from a table of ranges such as "3,5-8"."""
    numbers = defaultdict(list)
    for row in read_table(path, ["class", "numbers"]).itertuples(index=False):
        for part in str(row.numbers).split(","):
            first, _, last = part.partition("-")
            numbers[row[0]] += range(int(first), int(last or first) + 1)
    return dict(numbers)


def find_image(name: str, found: list[Path], folder: Path) -> Path:
    """Return the one image of a name; copies of it may lie in other folders."""
    if not found:
        raise InputError(f"{folder} has no image {name!r}. Unpack the whole collection there.")
    if len({path.read_bytes() for path in found}) > 1:
        raise InputError(
            f"{folder} has different images of the name {name!r}: {name_some(map(str, found))}. "
            "Name the folder of the one part that this script's description says."
        )
    return found[0]


def rebuild_rsna(*, radiography: Path, qu_ex: Path, out: Path, split: Path = SPLIT) -> None:
    """Write the dataset's folder `out`, in the layout split_json."""
    folders = {"radiography": radiography, "qu_ex": qu_ex}
    present = {key: defaultdict(list) for key in folders}
    for key, folder in folders.items():
        for path in sorted(folder.rglob("*.png")):
            if "mask" not in path.parent.name.lower():
                present[key][path.name].append(path)
    wanted = read_split(split)
    lists = {"train": {}, "test": {}}
    with atomic_folder(out.absolute()) as made:
        (made / "images").mkdir()
        for name, numbers in wanted.items():
            collection, there, here = NAMES[name]
            for number in numbers:
                original = there.format(number)
                found = present[collection][original]
                source = find_image(original, found, folders[collection])
                try:
                    with Image.open(source) as image:
                        small = image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
                except OSError as error:
                    raise InputError(f"Cannot read {source}: {error}. Unpack it again.") from error
                small.save(made / "images" / here.format(number))
            part, label = CLASSES[name]
            lists[part][str(label)] = [here.format(number) for number in numbers]
        write_text(json.dumps(lists, indent=0) + "\n", made / "data.json")
    logger.info("%s holds %s", out, {name: len(numbers) for name, numbers in wanted.items()})


if __name__ == "__main__":
    from medae.base.logs import script_logging

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("radiography", type=Path, help="COVID-19 Radiography Database, unpacked")
    parser.add_argument("qu_ex", type=Path, help="COVID-QU-Ex, its Infection Segmentation Data")
    parser.add_argument("--out", type=Path, default=Path("data/RSNA_public"), help="new folder")
    with script_logging(os.devnull):  # to the screen alone
        rebuild_rsna(**vars(parser.parse_args()))
