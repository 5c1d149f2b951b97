"""Compare the audit with perceptual hashing: copies found, by kind, and false alarms.

    PYTHONPATH=scripts:tests python tests/real/compare_with_phash.py data [--unmoved]

prints Markdown; `data` is the folder of the datasets. Of LGG and Pediatric CXR, whose splits
share no patient, 300 training images are copied in each way of tests/copies.py; the share that has
a twin in training is the recall. False alarms are normal test images, as they are, that have a
twin. Of Brain Tumor the table counts the test images that either one calls seen.

pHash has 64 bits: the low 8 × 8 of the cosine transform of the image at 32 × 32, against their
median; hashes are copies up to a Hamming distance. Both compare the eight mirrored and rotated
versions, or with --unmoved the images as they are. Our thresholds are those of the workflow: the
calibrated one, and the one that is configured for datasets without patients.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from copies import KINDS, as_packed, nearest_similarities
from PIL import Image
from scipy.fft import dctn

from medae.data.groups import image_groups
from medae.data.layouts import read_layout
from medae.duplicates.audit import calibrate
from medae.duplicates.similarity import comparable, move

CONFIG = Path(__file__).parents[2] / "config"
DISTANCES = [0, 4, 8, 10]
COPIED = 300


def phash(images) -> np.ndarray:
    """Return the hashes of grey images, ±1, shape (N, 64); float32, for products."""
    hashes = []
    for image in images:
        small = Image.fromarray(np.ascontiguousarray(image)).resize((32, 32), Image.Resampling.BOX)
        low = dctn(np.asarray(small, dtype=float))[:8, :8]
        hashes.append(np.where(low > np.median(low), 1, -1).reshape(-1))
    return np.array(hashes, dtype=np.float32)


def hash_distances(train: np.ndarray, images, *, moved: bool) -> np.ndarray:
    """Return each image's Hamming distance to the nearest of the hashes `train`."""
    ways = range(8 if moved else 1)
    products = [phash([move(image, way) for image in images]) @ train.T for way in ways]
    return (64 - np.max(products, axis=(0, 2))) / 2


def load(entry: dict, data: Path):
    """Return a dataset's images at the files' resolution: training, test, labels, all ids."""
    records = read_layout(data / entry["folder"], entry["layout"])
    images = {}
    for split in ("train", "test"):
        files = [record.image for record in records if record.split == split]
        images[split] = np.stack([np.asarray(Image.open(file).convert("L")) for file in files])
    labels = np.array([record.label for record in records])
    return images["train"], images["test"], labels, [record.id for record in records]


def thresholds_of(entry: dict, options: dict, train, test, labels, ids, *, moved: bool):
    """Return the thresholds to compare: the calibrated one, if there is one, and the configured."""
    if "group_pattern" not in entry:
        return [options["threshold"]]
    _, calibrated = calibrate(
        comparable(np.concatenate([as_packed(train), as_packed(test)])),
        labels=labels,
        patients=image_groups(ids, pattern=entry["group_pattern"]),
        configured=options["threshold"],
        moved=moved,
    )
    return [calibrated, options["threshold"]]


def found(train, images, *, thresholds: list[float], moved: bool) -> list[float]:
    """Return the share of images with a twin: at each of our thresholds, then of DISTANCES."""
    ours = nearest_similarities(as_packed(train), as_packed(images), moved=moved)
    theirs = hash_distances(phash(train), images, moved=moved)
    shares = [np.mean(ours >= least) for least in thresholds]
    return [*shares, *(np.mean(theirs <= most) for most in DISTANCES)]


def tables(data: Path, *, moved: bool) -> Iterator[str]:
    """Yield the lines of the tables."""
    registry = yaml.safe_load((CONFIG / "datasets.yaml").read_text(encoding="utf-8"))["registry"]
    options = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))["audit"]
    for key in ("lgg", "pediatric_cxr", "brain_tumor"):
        entry = registry[key]
        train, test, labels, ids = load(entry, data)
        thresholds = thresholds_of(entry, options, train, test, labels, ids, moved=moved)
        classes = labels[len(train) :]
        images = {
            f"{name} test images, as they are": test[classes == label]
            for label, name in enumerate(("normal", "abnormal"))
        }
        if key != "brain_tumor":
            chosen = train[np.linspace(0, len(train) - 1, COPIED).round().astype(int)]
            images = {kind: [make(one) for one in chosen] for kind, make in KINDS.items()} | images
        columns = [f"r ≥ {least:.3f}" for least in thresholds]
        columns += [f"pHash ≤ {most}" for most in DISTANCES]
        yield f"\n**{entry['name']}**, percent with a twin in training\n"
        yield f"| test image | {' | '.join(columns)} |\n|:--|{'--:|' * len(columns)}"
        for name, part in images.items():
            shares = found(train, part, thresholds=thresholds, moved=moved)
            yield f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--unmoved", action="store_true")
    arguments = parser.parse_args()
    for line in tables(arguments.data, moved=not arguments.unmoved):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
