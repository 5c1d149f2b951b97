"""Select example images of one dataset by rule, and collect what every setting makes of them.

Of each class of the full test set the images with the lowest, the median and the highest score
of one reference setting are taken, so that nobody picks the nice ones. The median of n images is at
position (n - 1) // 2 by ascending score; equal scores are ordered by id. An image of a class of
fewer than three has several of these roles, and appears once for each.

`examples` is an HDF5 file with /labels, /roles, /scores (of the reference), /images
(N×C×H×W in [-1, 1]), /masks (N×H×W, if there are any) and a group {method}/d{latent_dim} for each
setting, with /reconstructions and /maps, that of the reference with `information` also with that
score's maps, /information. Attribute `reference`: its group.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from medae.base.files import atomic_path
from medae.base.hdf5 import new_hdf5
from medae.data.packed import as_floats, read_packed
from medae.duplicates.held_out import not_held_out
from medae.models.baselines import BASELINES
from medae.models.information import INFORMATION
from medae.models.score_files import read_maps, read_scores, rescore
from medae.report.choosing import choose_images

ROLES = ["lowest", "median", "highest"]
TEXT = h5py.string_dtype()


def select_examples(
    *,
    packed: Path,
    scores: Sequence[Path],
    maps: Sequence[Path],
    settings: Sequence[Mapping],
    reference: Mapping,
    information: bool,
    examples: Path,
    training_rows: Path | None = None,
) -> None:
    """Choose the examples by the scores of `reference`, and write the file `examples`.

    `training_rows` is the table of the images that were held out, if any were. Without test images
    the file has none. Raises InputError when the files are not about the same ones.
    """
    data = read_packed(packed)
    names = [f"{setting['method']}/d{setting['latent_dim']}" for setting in settings]
    judge = f"{reference['method']}/d{reference['latent_dim']}"
    place = names.index(judge)
    table = read_scores(scores[place], data)
    judged = table.loc[table["split"] == "test", "score"].to_numpy()
    chosen = choose_images(data.test_labels, judged, count=len(ROLES))
    rows = [row for positions in chosen.values() for row in positions]
    roles = [f"{name} {role}" for name in chosen for role in ROLES]
    with atomic_path(examples) as temporary, new_hdf5(temporary) as file:
        file.attrs["reference"] = judge
        file.create_dataset("roles", data=roles, dtype=TEXT)
        if not rows:
            return
        file["labels"] = data.test_labels[rows]
        file["scores"] = judged[rows]
        file["images"] = as_floats(data.test_images[rows])
        if data.test_masks is not None:
            file["masks"] = (data.test_masks[rows] == 1).astype(np.uint8)
        for name, path in zip(names, maps, strict=True):
            group = file.create_group(name)
            for key in ("reconstructions", "maps"):
                group[key] = read_maps(path, data, name=key, rows=rows)
        if information and reference["method"] not in BASELINES:
            used = not_held_out(training_rows, data)
            about = {"table": table, "maps": maps[place], "what": str(scores[place])}
            about |= {"trained_on": used, "held_out": ~used}
            file[judge]["information"] = rescore(INFORMATION, truth=data, **about)[1][rows]


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(select_examples, snakemake)
