"""Make a dataset for choosing d without labels, of the training images of another one.

Its training images are those that are not held out; its normal test images are the held-out ones;
its abnormal test images are synthetic anomalies in these, one of each kind per image, with the id
synthetic/<kind>/<id of the image>. Test images and test labels of the source are not used, and
source_sha256 is the sum over the training images, their ids and the parameters. Of the audit the
copy groups of the training images are used; a test image can have joined two of them, no more.
Fails when the training images cannot be split without cutting a group of duplicates or a patient's
images, when the audit is that of other images, or when an image is nearly of one grey value.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medae.data.groups import image_groups
from medae.data.packed import packed_writer, read_packed
from medae.duplicates.audit import read_audit
from medae.duplicates.held_out import hold_out, image_components
from medae.theory.plan import SUFFIX
from medae.theory.synthetic import Anomaly, make_anomaly, synthetic_id

logger = logging.getLogger(__name__)


def make_validation_set(
    *,
    source: Path,
    audit: Path,
    group_pattern: str | None,
    share: float,
    seed: int,
    kinds: Sequence[str],
    packed: Path,
) -> None:
    """Write the held-out dataset `packed`, of the packed dataset `source`.

    `group_pattern` finds an image's patient in its id; `share` of the training images is held out,
    by `seed`; `kinds` are those of synthetic anomalies.
    """
    data = read_packed(source)
    images, ids = data.train_images, data.train_ids
    copies = read_audit(audit, data)["copy_group"].to_numpy()[: len(ids)]
    patients = image_groups(ids, pattern=group_pattern)
    held = hold_out(copies, patients, share=share, seed=seed)
    test = make_test_images(
        images[held],
        ids=[name for name, out in zip(ids, held, strict=True) if out],
        components=image_components(copies, patients)[held],
        seed=seed,
        kinds=kinds,
    )
    names = sorted(test)  # as both splits of every packed dataset are
    with packed_writer(
        packed,
        channels=images.shape[1],
        image_size=images.shape[-1],
        train_ids=[name for name, out in zip(ids, held, strict=True) if not out],
        test_ids=names,
        test_labels=[int(test[name].mask.any()) for name in names],
        masks=True,
    ) as writer:
        writer.append("train", images[~held])
        parts = zip(*(test[name] for name in names), strict=True)
        writer.append("test", *(np.stack(part) for part in parts))
        same = ["source", "intensity_range"]
        parameters = {"seed": seed, "kinds": list(kinds)}
        described = json.dumps([list(images.shape), list(ids), held.tolist(), parameters])
        writer.attributes |= {name: data.attributes[name] for name in same} | {
            "dataset": f"{data.attributes['dataset']}{SUFFIX}",
            "source_sha256": hashlib.sha256(described.encode() + images.tobytes()).hexdigest(),
        }
    logger.info("%d of %d training images are held out", np.count_nonzero(held), len(held))


def make_test_images(
    images: np.ndarray,
    *,
    ids: Sequence[str],
    components: np.ndarray,
    seed: int,
    kinds: Sequence[str],
) -> dict[str, Anomaly]:
    """Return the held-out images (uint8, N × C × H × W), with empty masks, and their anomalies.

    The keys are the ids in the validation dataset; `components` say which images belong together.
    The donor of a piece is an image of another component, or if there is none, just another one.
    """
    nothing = np.zeros(images.shape[-2:], dtype=np.uint8)
    found = {}
    random = np.random.default_rng(seed)
    for row, (image, name) in enumerate(zip(images, ids, strict=True)):
        found[name] = Anomaly(image, nothing)
        others = np.flatnonzero(components != components[row])
        if not len(others):
            others = np.flatnonzero(np.arange(len(images)) != row)
        donor = images[random.choice(others)]
        for kind in kinds:
            anomaly = make_anomaly(image, kind=kind, name=name, seed=seed, donor=donor)
            found[synthetic_id(kind, name)] = anomaly
    return found


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(make_validation_set, snakemake)
