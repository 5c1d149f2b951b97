"""NIfTI volumes made of arrays: slices, their labels, their side that is up, patients."""

import logging
import re

import nibabel
import numpy as np
import pytest
from image_files import pack_folder

from medae.base.errors import InputError
from medae.data.groups import group_names
from medae.data.layouts import LAYOUTS, VolumeOptions
from medae.data.layouts import read_layout as read_files
from medae.data.packed import read_packed
from medae.data.pictures import ImageError
from medae.data.volumes import expand, read_slices


def read_layout(root, layout, volumes=None):
    volumes = volumes or VolumeOptions()
    return expand(read_files(root, layout, volumes), root=root, options=volumes, workers=2)


RAS = np.diag([-1.0, -1, 1, 1])  # voxel axes towards left and back, as DICOM


def save(path, values, affine=RAS):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def head(seed):
    """A volume whose first and last slice are empty, in units of its own."""
    random = np.random.default_rng(seed)
    values = random.integers(1, 100, (20, 24, 10)) * (seed + 1)
    values[..., [0, -1]] = 0
    return values.astype(np.int16)


def brats(root, patients=10):
    """Patients as BraTS is distributed; of patient i the slices 4 to 4 + i % 3 have a tumour."""
    for i in range(patients):
        name = f"BraTS2021_{i:05}"
        save(root / name / f"{name}_flair.nii.gz", head(i))
        save(root / name / f"{name}_t1.nii.gz", head(i))
        mask = np.zeros((20, 24, 10), np.uint8)
        mask[5:9, 5:9, 4 : 5 + i % 3] = [[[4]]]
        mask[6, 6, 4] = 1
        save(root / name / f"{name}_seg.nii.gz", mask)
    return root


def test_brats_as_it_is_distributed(tmp_path):
    root = brats(tmp_path / "brats")
    (root / "BraTS2021_00000/._BraTS2021_00000_flair.nii").touch()  # as macOS leaves them
    options = VolumeOptions(first=2, last=7, test_share=0.3)
    records = read_layout(root, "volumes", volumes=options)
    patient = {r.id: re.search(r"BraTS2021_(\d+)/", r.id)[1] for r in records}
    by_split = {s: {patient[r.id] for r in records if r.split == s} for s in ("train", "test")}
    assert (len(by_split["train"]), len(by_split["test"])) == (7, 3)
    assert not by_split["train"] & by_split["test"]
    for record in records:
        assert record.id.endswith(f"_flair.nii.gz/{record.slice:03d}")
        abnormal = 4 <= record.slice <= 4 + int(patient[record.id]) % 3
        assert record.label == abnormal and (record.mask is not None) == abnormal
        assert not (abnormal and record.split == "train")
        assert 2 <= record.slice <= 7
    test = [r.slice for r in records if r.split == "test"]
    assert sorted(test) == sorted([*range(2, 8)] * 3)
    pattern = LAYOUTS["volumes"].group_pattern
    names = group_names([r.id for r in records], pattern=pattern)
    assert names == [f"BraTS2021_{patient[r.id]}" for r in records]


def test_volumes_are_packed_by_their_own_percentiles(tmp_path):
    root = brats(tmp_path / "brats", patients=5)
    with pytest.raises(InputError, match="values of a NIfTI volume, which .*Set `intensity_range"):
        pack_folder(root, tmp_path / "x.h5", layout="volumes")
    pack_folder(root, tmp_path / "x.h5", layout="volumes", intensity_range="percentiles")
    packed = read_packed(tmp_path / "x.h5")
    # Slices without content are left out; the volumes' units differ by up to 5 times.
    means = [image.mean() for image in packed.train_images]
    assert len(packed.test_ids) == 8 and np.ptp(means) < 40
    areas = packed.test_masks.sum(axis=(1, 2))
    assert ((areas > 0) == packed.test_labels).all()
    assert areas[areas > 0] == pytest.approx(16 / 480 * 256, rel=0.35)


def test_folders_of_patients_may_have_volumes(tmp_path):
    for i, part in enumerate(("train/normal/p1/a", "test/normal/p2", "test/abnormal/p3/x")):
        save(tmp_path / f"{part}.nii", head(i))
    mask = np.zeros((20, 24, 10), np.uint8)
    mask[3, 3, 5] = 1
    with pytest.raises(InputError, match="'test/abnormal/p3/x.nii': an abnormal volume without"):
        read_layout(tmp_path, "patients")
    save(tmp_path / "test/mask/p3/x_mask.nii.gz", mask)
    records = read_layout(tmp_path, "patients")
    assert [r.id for r in records if r.label] == ["test/abnormal/p3/x.nii/005"]
    assert sum(r.split == "train" for r in records) == 8
    names = group_names([r.id for r in records], pattern=LAYOUTS["patients"].group_pattern)
    assert set(names) == {"p1", "p2.nii", "p3"}
    with pytest.raises(InputError, match="its layout folder knows no patients. Set `layout: pat"):
        for path in [*tmp_path.rglob("p?/*.nii"), *tmp_path.rglob("p?/*.nii.gz")]:
            path.rename(path.parent.parent / path.name)
        read_layout(tmp_path, "folder")


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_slices_are_upright_whatever_the_order_of_voxels(tmp_path, axis):
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)  # to left, back, head
    expected = {
        "axial": [values[:, :, k].T for k in range(6)],
        "coronal": [values[:, k, :].T[::-1] for k in range(5)],
        "sagittal": [values[k].T[::-1] for k in range(4)],
    }[axis]
    orientation = nibabel.orientations.axcodes2ornt
    for codes in ("LPS", "ASR", "IRP"):
        order = nibabel.orientations.ornt_transform(orientation("LPS"), orientation(codes))
        affine = RAS @ nibabel.orientations.inv_ornt_aff(order, values.shape)
        assert "".join(nibabel.aff2axcodes(affine)) == codes
        save(tmp_path / "x.nii", nibabel.apply_orientation(values, order), affine)
        found = read_slices((tmp_path / "x.nii").read_bytes(), axis)
        np.testing.assert_array_equal(found, expected)


def test_a_mask_that_has_lost_its_affine_is_refused(tmp_path):
    root = brats(tmp_path / "brats", patients=3)
    folder = root / "BraTS2021_00002"
    mask = nibabel.load(folder / "BraTS2021_00002_seg.nii.gz")
    values = np.asarray(mask.dataobj)
    turned = nibabel.as_closest_canonical(mask).as_reoriented([[1, 1], [0, -1], [2, 1]])
    nibabel.save(turned, folder / "BraTS2021_00002_seg.nii.gz")  # another order, the same place
    before = {one.id: one.label for one in read_layout(root, "volumes")}
    assert sum(before.values()) > 0
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        nibabel.save(kind(values, np.eye(4)), folder / "BraTS2021_00002_seg.nii.gz")
        with pytest.raises(InputError, match=r"voxels go to R-A-S, its own to L-P-S"):
            read_layout(root, "volumes")


def test_damaged_volumes_are_named_and_refused(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    root = brats(tmp_path / "brats", patients=5)
    path = root / "BraTS2021_00002/BraTS2021_00002_flair.nii.gz"
    data = path.read_bytes()
    for length in (0, 50, len(data) // 2, len(data) - 9):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"use 1 of .*00002_flair.nii.gz' .*not readable as"):
            read_layout(root, "volumes")
    save(path, np.zeros((4, 4, 4, 2), np.int16))
    with pytest.raises(ImageError, match="of the shape 4 × 4 × 4 × 2"):
        read_slices(path.read_bytes(), "axial")
    values = head(2).astype(np.float32)
    values[0, 0, 4] = np.nan  # its slice would count as one of a single value
    save(path, values)
    with pytest.raises(InputError, match=r"00002_flair.nii.gz': voxels that are not finite"):
        read_layout(root, "volumes")
    path.unlink()
    with pytest.raises(InputError, match=r"not so in 'BraTS2021_00002'"):
        read_layout(root, "volumes")
