"""NIfTI volumes: upright slices along one axis of the patient, which are the images."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from multiprocessing.pool import ThreadPool
from pathlib import Path

import nibabel
import numpy as np

from medae.base.errors import InputError
from medae.data.formats import is_volume
from medae.data.layouts import Record, VolumeOptions, name_some
from medae.data.masks import binarise
from medae.data.pictures import REPLACE, ImageError, times

# Voxels are read as going to the patient's left, back and head; a slice is shown as DICOM viewers
# do, the left or back to the right, the back or the feet below.
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
MAX_BYTES = 4 << 30  # a guard against files that decompress to fill the memory
ADD_MASK = "Add its mask, or export the slices as images"
SAME_PLACE = "Save the mask with its image's affine"
NIFTI_2 = (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # how a header of either order begins
FILL = "Give them a value, that of the background where they are outside the body"
SPLIT_VOLUME = "Save each volume in a file of its own"


def read_slices(data: bytes, axis: str) -> np.ndarray:
    """Return the slices of a NIfTI file, N × H × W, from the feet, the front or the right side.

    Values are in the file's units (its slope and intercept applied). Raises ImageError for files
    that are damaged or have several volumes.
    """
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=BytesIO(data)) as file:
                data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ImageError(f"more than {MAX_BYTES >> 30} GiB", SPLIT_VOLUME)
        kind = nibabel.Nifti2Image if data[:4] in NIFTI_2 else nibabel.Nifti1Image
        volume = kind.from_bytes(data)
        if volume.ndim < 3 or any(count > 1 for count in volume.shape[3:]):
            raise ImageError(f"a NIfTI file of the shape {times(volume.shape)}", SPLIT_VOLUME)
        values = np.asanyarray(volume.dataobj).reshape(volume.shape[:3])
        if values.dtype.kind not in "iuf":
            raise ImageError(f"a NIfTI file of the type {values.dtype}", REPLACE)
        now = nibabel.io_orientation(volume.affine)
        turned = nibabel.orientations.ornt_transform(now, nibabel.orientations.axcodes2ornt("LPS"))
        values = nibabel.apply_orientation(values, turned)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make nibabel raise nearly everything
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageError(f"not readable as a NIfTI volume: {text}", REPLACE) from error
    slices = np.moveaxis(values, PLANES[axis], 0).swapaxes(1, 2)
    return slices if axis == "axial" else slices[:, ::-1]


def expand(
    records: Sequence[Record], *, root: Path, options: VolumeOptions, workers: int
) -> list[Record]:
    """Return the records with one per slice instead of each volume.

    Slices are those of `options` that have more than one value. With a mask, those in which nothing
    is abnormal are normal, the only ones that are used for training; a slice that is normal has no
    mask. Raises InputError when volumes cannot be used.
    """

    def slices(record: Record) -> list[Record] | ImageError:
        if not is_volume(record.image):
            return [record]
        try:
            return slices_of(record, options)
        except ImageError as error:
            return error

    with ThreadPool(workers) as pool:
        found = pool.map(slices, records)
    pairs = list(zip(records, found, strict=True))
    faults = {one.id: error for one, error in pairs if isinstance(error, ImageError)}
    if faults:
        first = min(faults)
        raise InputError(
            f"Cannot use {len(faults)} of the volumes in {root}: {name_some(faults)} ({first!r}: "
            f"{faults[first].reason}). {faults[first].remedy}."
        )
    return [record for part in found for record in part]


def slices_of(record: Record, options: VolumeOptions) -> list[Record]:
    """Return the records of a volume's slices; raises ImageError when it cannot be used."""
    data = _bytes(record.image)
    values = read_slices(data, options.axis)
    if not np.isfinite(values).all():  # neither a percentile nor a slice of one value can be told
        raise ImageError("voxels that are not finite numbers", FILL)
    abnormal = np.zeros(len(values), dtype=bool)
    if record.mask is not None:
        mask_data = _bytes(record.mask)
        mask = binarise(read_slices(mask_data, options.axis))[0]
        if mask.shape != values.shape:
            reason = f"its mask has {times(mask.shape)} voxels, not {times(values.shape)}"
            raise ImageError(reason, "Export each mask at the size of its volume")
        _check_place(data, mask_data)
        abnormal = mask.any(axis=(1, 2))
    elif record.label:
        raise ImageError("an abnormal volume without a mask, which says which slices are", ADD_MASK)
    last = len(values) if options.last is None else options.last + 1
    return [
        replace(
            record,
            id=f"{record.id}/{index:03d}",
            label=int(abnormal[index]),
            mask=record.mask if abnormal[index] else None,
            slice=index,
        )
        for index in range(len(values))[options.first : last : options.step]
        if values[index].min() < values[index].max()
        and not (abnormal[index] and record.split == "train")
    ]


def _check_place(image: bytes, mask: bytes) -> None:
    """Raise ImageError for a mask whose voxels run another way and that lies elsewhere in space.

    A tool has lost its affine; turned by that, it would be mirrored against its image.
    """
    (ways, box), (other_ways, other_box) = map(_place, (image, mask))
    if ways != other_ways and not np.allclose(box, other_box, atol=1):
        reason = f"its mask's voxels go to {'-'.join(other_ways)}, its own to {'-'.join(ways)}"
        raise ImageError(f"{reason}, and both lie in different places", SAME_PLACE)


def _place(data: bytes) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the ways that voxels go, such as R, A, S, and the box that they fill, in mm."""
    head = gzip.GzipFile(fileobj=BytesIO(data)).read(540) if data[:2] == b"\x1f\x8b" else data
    kind = nibabel.Nifti2Header if head[:4] in NIFTI_2 else nibabel.Nifti1Header
    header = kind(head[: kind.sizeof_hdr], check=False)
    affine = header.get_best_affine()
    corners = np.stack(np.meshgrid(*([0, size - 1] for size in header.get_data_shape()[:3])))
    places = nibabel.affines.apply_affine(affine, corners.reshape(3, -1).T)
    return nibabel.aff2axcodes(affine), np.array([places.min(axis=0), places.max(axis=0)])


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path.name} cannot be read: {error.strerror}", REPLACE) from error
