"""Films as files of every kind, written for the tests."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rahelpers.films.reading import read_radiograph

RAMP = np.linspace(0, 255, 64 * 48).reshape(64, 48)
GREY = RAMP.astype(np.uint8)
DEEP = (RAMP * 200).astype(np.uint16)
COLOURED = np.dstack([GREY, GREY // 2, 255 - GREY])
LUMA = COLOURED @ np.array([0.299, 0.587, 0.114])
# kinds of value whose length takes four bytes
LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
COMPRESSED = [
    "RLELossless",
    "JPEGLosslessProcess14",
    "JPEGLosslessProcess14_1",
    "JPEGLSLossless",
    "JPEG2000Lossless",
]


def stretch(image: np.ndarray) -> np.ndarray:
    """What a reader should make of these grey values."""
    image = np.asarray(image, np.float64)
    return (image - image.min()) / (image.max() - image.min())


def encode(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">L", zlib.crc32(kind + content))
    return struct.pack(">L", len(content)) + kind + content + checksum


def encode_deep_png(samples: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel, which Pillow cannot write; two are grey and alpha."""
    height, width, channels = samples.shape
    header = struct.pack(">LLBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def encode_tiff(content: bytes, width: int, height: int, bits: int, photometric: int) -> bytes:
    """A grey TIFF without compression, of a depth that Pillow does not write."""
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: photometric,
        273: 8 + 2 + 12 * 9 + 4,
        277: 1,
        278: height,
        279: len(content),
    }
    directory = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + directory + b"\0\0\0\0" + content


def dicom(photometric: str = "MONOCHROME2", pixels: np.ndarray | None = None, **tags) -> bytes:
    """A DICOM file of 12 bits (or 8, if `pixels` have 8), with everything about a person in it.

    `tags` override what is in it.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

    pixels = (RAMP * 16).astype(np.uint16) if pixels is None else pixels
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4.5.6789"
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Doe^Jane", "ID4711", "19700203"
    ds.InstitutionName, ds.StationName = "Mercy Hospital", "ROOM7"
    ds.StudyDescription, ds.AccessionNumber = "hands of Mrs Doe", "ACC99"
    ds.Modality, ds.ImageLaterality, ds.ImagerPixelSpacing = "CR", "R", [0.15, 0.15]
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation, ds.PixelRepresentation = photometric, 0
    bits = 8 if pixels.dtype == np.uint8 else 12
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * pixels.dtype.itemsize, bits, bits - 1
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def encapsulated(frame: bytes, syntax: str, **tags) -> bytes:
    """An 8-bit DICOM file whose pixels are this compressed stream."""
    from pydicom.encaps import encapsulate

    pixels = tags.pop("pixels", GREY)
    return dicom(pixels=pixels, syntax=syntax, PixelData=encapsulate([frame]), **tags)


def compress(data: bytes, syntax: str, folder) -> bytes:
    """The same DICOM file in another transfer syntax, written by gdcm, which only handles files."""
    import gdcm

    before, after = folder / "before.dcm", folder / "after.dcm"
    before.write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(before))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(after))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return after.read_bytes()


def without(data: bytes, keyword: str) -> bytes:
    """The same DICOM file without this element."""
    from pydicom import dcmread

    dataset, changed = dcmread(io.BytesIO(data)), io.BytesIO()
    if keyword in dataset:
        del dataset[keyword]
    dataset.save_as(changed)
    return changed.getvalue()


def put(data: bytes, keyword: str, kind: str, value: bytes) -> bytes:
    """The DICOM file with this element, of whatever kind of value (VR) and bytes, in front.

    It has to be explicit VR little endian, as `dicom` writes it.
    """
    from pydicom.datadict import tag_for_keyword

    data = without(data, keyword)
    value += b"\0" * (len(value) % 2)
    tag = tag_for_keyword(keyword)
    length = b"\0\0" + struct.pack("<L", len(value)) if kind in LONG else b""
    element = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind.encode()
    element += (length or struct.pack("<H", len(value))) + value
    start = data.index(b"\x08\0\x16\0")
    return data[:start] + element + data[start:]


GOOD = encode(DEEP, "PNG")
GOOD_IMAGE = read_radiograph(GOOD).image
POSIX = pytest.mark.skipif(os.name != "posix", reason="pipes, devices and such links are POSIX")
