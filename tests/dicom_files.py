"""DICOM files made of arrays."""

import io

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PATIENT = "Doe^Jane"


def dicom(values: np.ndarray, *, photometric="MONOCHROME2", compress=None, **tags) -> bytes:
    """Return the file of an image; `tags` are further ones by their keywords."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    file.PatientName, file.PatientID = PATIENT, "4711"
    file.Rows, file.Columns = values.shape[:2]
    file.SamplesPerPixel = 1 if values.ndim == 2 else values.shape[2]
    file.PhotometricInterpretation = photometric
    file.BitsAllocated = file.BitsStored = 8 * values.dtype.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    if values.ndim == 3:
        file.PlanarConfiguration = 0
    file.PixelData = values.tobytes()
    for key, value in tags.items():
        setattr(file, key, value)
    if compress:
        file.compress(compress, generate_instance_uid=False)
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
