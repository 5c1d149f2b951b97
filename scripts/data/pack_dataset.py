"""Pack a dataset of image files into one HDF5 file of small 8-bit images.

The same images give the same bytes. The attribute source_sha256 is the sum of what sha256sum prints
for the image and mask files, sorted by name: in the dataset's folder,
`sha256sum FILES | LC_ALL=C sort -k 2 | sha256sum`. Without a usable image in every listed file
nothing is written.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from medae.base.errors import InputError
from medae.data.findings import Findings
from medae.data.images import Preparation, check_range, load_file
from medae.data.known import UNKNOWN
from medae.data.layouts import (
    VolumeOptions,
    check_counts,
    count_classes,
    read_layout,
    sort_records,
)
from medae.data.packed import packed_writer
from medae.data.volumes import expand

BLOCK_IMAGES = 512  # decoded before they are written; HDF5 lays the file out in their order
BLOCK_BYTES = 32 * 2**20  # at most, unless one image has more

logger = logging.getLogger(__name__)


def pack_dataset(
    *,
    root: Path,
    packed: Path,
    dataset: str,
    layout: str,
    channels: int,
    image_size: int,
    masks: bool,
    source: str,
    workers: int,
    expected: Mapping[str, int] | None = None,
    intensity_range: Sequence[float] | str | None = None,
    fit: str = "squash",
    volumes: Mapping | None = None,
) -> None:
    """Write the file `packed` of the images in `root`, decoded by `workers` threads.

    `volumes` are VolumeOptions, `intensity_range` and `fit` those of Preparation.
    """
    options = VolumeOptions(**(volumes or {}))
    preparation = Preparation(check_range(intensity_range), fit, options.axis)
    records = read_layout(root, layout, options)
    records = sort_records(expand(records, root=root, options=options, workers=workers))
    check_counts(root, layout, records, expected)
    logger.info("%s holds %s", root, count_classes(records))
    if masks and not any(record.mask for record in records):
        raise InputError(
            f"The registry says that the dataset in {root} has masks, but there are none. Add them "
            "where the layout has them, or set `masks: false` in its registry entry."
        )
    if not masks:
        records = [replace(record, mask=None) for record in records]
    elif bare := sum(bool(record.label and not record.mask) for record in records):
        logger.warning("%d abnormal images have no mask and are left out of pixel metrics", bare)
    splits = {name: [r for r in records if r.split == name] for name in ("train", "test")}
    size = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // ((channels + masks) * image_size**2)))
    blocks = [
        (split, of_split[start : start + size])
        for split, of_split in splits.items()
        for start in range(0, len(of_split), size)
    ]
    shape = {"channels": channels, "image_size": image_size}
    load = partial(load_file, root=root, preparation=preparation, **shape)
    found = Findings(preparation)
    no_mask = [np.full((image_size, image_size), fill, np.uint8) for fill in (0, UNKNOWN)]
    with (
        ThreadPool(workers) as pool,
        packed_writer(
            packed,
            **shape,
            train_ids=[record.id for record in splits["train"]],
            test_ids=[record.id for record in splits["test"]],
            test_labels=[record.label for record in splits["test"]],
            masks=masks,
        ) as writer,
    ):
        for split, block in blocks:
            # Slices of a volume are neighbours.
            files = [list(part) for _, part in groupby(block, key=lambda record: record.image)]
            loaded = [one for part in pool.map(load, files) for one in part]
            for one in loaded:
                found.add(one)
            if found.failures:  # the others are read only to name all bad ones
                continue
            writer.append(
                split,
                np.stack([one.image.pixels for one in loaded]),
                np.stack(
                    [one.mask.pixels if one.mask else no_mask[one.record.label] for one in loaded]
                )
                if masks and split == "test"
                else None,
            )
        found.check(root)
        lines = "".join(f"{line}\n" for _, line in sorted(found.sums.items()))
        writer.attributes |= {
            "dataset": dataset,
            "source": source,
            "source_sha256": hashlib.sha256(lines.encode()).hexdigest(),
            "intensity_range": preparation.as_json(),
        }
    found.log()


if __name__ == "__main__":
    from medae.base.scripts import run_script

    entry = dict(snakemake.params.entry)
    entry["source"] = entry.pop("url", Path(snakemake.params.root).name)
    run_script(pack_dataset, snakemake, workers=snakemake.threads, **entry)
