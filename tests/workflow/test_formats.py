"""From DICOM files and NIfTI volumes to metrics and the gallery, through Snakemake."""

import nibabel
import numpy as np
import pytest
from dicom_files import PATIENT, dicom
from small_project import ONE_MODEL, own_entry

from medae.base.files import read_table
from medae.data.packed import read_packed

pytestmark = pytest.mark.workflow

SHAPE = (40, 40)
RESULTS = ["results/small/metrics.tsv", "results/small/gallery/mine.html"]
RESULTS += ["results/small/audit/mine/thresholds.tsv"]


def scan(seed: int, lesion: bool = False) -> np.ndarray:
    """A smooth image of 12 bits, with a bright square where it has a lesion."""
    random = np.random.default_rng(seed)
    waves = np.add.outer(np.sin(np.arange(40) / random.uniform(4, 9)), np.cos(np.arange(40) / 7))
    values = 1500 + 300 * waves + random.normal(0, 60, SHAPE)
    values[20:28, 12:20] += 1200 * lesion
    return np.clip(values, 0, 4095).astype(np.uint16)


def run(project, entry, **changes):
    project.configure(
        datasets=["mine"],
        **ONE_MODEL,
        image_size=32,
        training={"epochs": 1, "batch_size": 8, "device": "cpu"},
        registry={"mine": entry | changes},
    )
    project.run(*RESULTS, cores=1)
    metrics = read_table(project.results / "metrics.tsv")
    metrics = metrics.query("method == 'ae' & score == 'squared_error'")
    assert metrics["value"].notna().all()
    assert (project.results / "gallery/mine.html").stat().st_size > 10_000
    return metrics.set_index(["split", "metric"]).loc["published"]


def test_from_dicom_to_metrics_and_gallery(fresh, tmp_path):
    folder = tmp_path / "scans"
    for i, (part, count) in enumerate(
        {"train/normal": 10, "test/normal": 4, "test/abnormal": 4}.items()
    ):
        for j in range(count):
            path = folder / part / f"p{i}{j // 2}/IM{j:05}"  # without an ending
            path.parent.mkdir(parents=True, exist_ok=True)
            values = scan(10 * i + j, part.endswith("abnormal"))
            tags = {"RescaleSlope": 1, "RescaleIntercept": -1024}
            if i == 0:  # the same values, stored the other way round
                values, tags = 4095 - values, {"RescaleSlope": -1, "RescaleIntercept": 3071}
            path.write_bytes(dicom(values, WindowCenter=476, WindowWidth=3000, **tags))
    metrics = run(fresh, own_entry(folder), layout="patients")
    packed = read_packed(fresh.results / "packed/mine_32px.h5")
    assert packed.test_ids[0] == "test/abnormal/p20/IM00000"
    means = [images.mean() for images in (packed.train_images, packed.test_images)]
    assert means == pytest.approx([128, 128], abs=10)
    assert tuple(metrics.loc["auc", ["n_train", "n_normal", "n_abnormal"]]) == (10, 4, 4)
    used = read_table(fresh.results / "audit/mine/thresholds.tsv").query("used == 1")
    assert used["origin"].item() == "calibrated"  # patients are the folders
    for path in fresh.results.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert PATIENT.encode() not in content and b"4711" not in path.name.encode()


def test_from_nifti_to_metrics_and_gallery(fresh, tmp_path):
    folder = tmp_path / "brats"
    for patient in range(5):
        slices = [scan(100 * patient + k, lesion=k >= 4) for k in range(7)]
        slices[0][:] = 0
        mask = np.zeros((*SHAPE, 7), np.uint8)
        mask[12:20, 20:28, 4:] = 4
        mask[14:16, 22:24, 4:] = 1
        name = f"BraTS2021_{patient:05}"
        (folder / name).mkdir(parents=True)
        for kind, values in (("flair", np.stack(slices).T.astype(np.int16)), ("seg", mask)):
            volume = nibabel.Nifti1Image(values, np.diag([-1.0, -1, 1, 1]))
            nibabel.save(volume, folder / name / f"{name}_{kind}.nii.gz")
    entry = own_entry(folder, masks=True) | {"volumes": {"last": 5, "test_share": 0.4}}
    metrics = run(fresh, entry, layout="volumes", intensity_range="percentiles")
    assert tuple(metrics.loc["auc", ["n_train", "n_normal", "n_abnormal"]]) == (9, 6, 4)
    assert metrics.loc["auc_pix", "value"] > 0.5
    packed = read_packed(fresh.results / "packed/mine_32px.h5")
    for image, mask in zip(packed.test_images[:, 0], packed.test_masks, strict=True):
        if mask.any():  # the mask lies on the lesion
            assert image[mask == 1].mean() > image[mask == 0].mean() + 50
    groups = {name.split("/")[0] for name in packed.test_ids}
    assert len(groups) == 2 and not groups & {name.split("/")[0] for name in packed.train_ids}
