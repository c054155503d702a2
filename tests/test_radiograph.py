"""Reading films: formats, polarity, privacy, and messages for bad files."""

import io

import numpy as np
import pytest
from PIL import Image

from rahelpers.radiograph import RadiographError, read_radiograph

RAMP = np.linspace(0, 255, 64 * 48).reshape(64, 48)


def encode(image: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_give_the_same_film(kind):
    film = read_radiograph(encode(RAMP.astype(np.uint8), kind))
    np.testing.assert_allclose(film.image, RAMP.astype(np.uint8) / 255, atol=1e-6)


def test_sixteen_bit_keeps_its_depth_and_colour_stored_grey_is_grey():
    deep = read_radiograph(encode((RAMP * 200).astype(np.uint16), "PNG"))
    assert len(np.unique(deep.image)) > 1000
    grey = RAMP.astype(np.uint8)
    np.testing.assert_allclose(read_radiograph(encode(np.dstack([grey] * 3), "PNG")).image, grey / 255, atol=0.005)


def dicom(photometric: str) -> bytes:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.PatientName, ds.Modality, ds.ImageLaterality, ds.ImagerPixelSpacing = "Doe^Jane", "CR", "R", [0.15, 0.15]
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 64, 48, 1, photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = (RAMP * 16).astype(np.uint16).tobytes()
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_dicom_polarity_spacing_side_and_no_name():
    two, one = read_radiograph(dicom("MONOCHROME2")), read_radiograph(dicom("MONOCHROME1"))
    np.testing.assert_allclose(two.image, 1 - one.image, atol=1e-5)
    assert (two.spacing_mm, two.laterality) == (0.15, "R")
    assert "Doe" not in repr(two)


@pytest.mark.parametrize(
    "content", [b"", b"hello", encode(RAMP.astype(np.uint8), "PNG")[:90], dicom("MONOCHROME2")[:300], encode(np.zeros((64, 64), np.uint8), "PNG"),
                encode(np.zeros((4, 4), np.uint8), "PNG"), b"\0" * 128 + b"DICM" + b"junk" * 50]
)  # fmt: skip
def test_bad_files_get_a_message(content):
    with pytest.raises(RadiographError, match="film.png"):
        read_radiograph(content, "film.png")


def test_missing_file(tmp_path):
    with pytest.raises(RadiographError, match="no such file"):
        read_radiograph(tmp_path / "none.png")
