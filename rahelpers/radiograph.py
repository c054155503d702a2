"""One radiograph: reading it from a file, whatever the file is, and refusing in words what is not one."""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
import struct
import subprocess
import sys
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rahelpers.native_stderr import silence_native_stderr

if TYPE_CHECKING:
    from PIL import Image
    from pydicom.dataset import FileDataset

MAX_PIXELS = 64_000_000  # a 35 x 43 cm detector at 0.1 mm has 15 million
MAX_BYTES = 256_000_000  # of a file, and of what a deflated DICOM file unpacks to: MAX_PIXELS at 16 bit, twice
LEAST_SIDE = 32  # pixels
SPACING_RANGE_MM = (0.001, 10.0)  # of a pixel; a detector has 0.1 to 0.2, a thumbnail up to 2
MOST_ANISOTROPY = 0.01  # rows and columns may differ by one per cent: a hand of 200 mm is then right within 1 mm
COLOUR_SPREAD = 12 / 255  # between the channels of one pixel: JPEG's rounding gives at most 3 of 255, a coloured arrow hundreds
TINT_SPREAD = 0.1  # of the grey range: a pixel that is farther from the film's tint has a colour of its own
TINT_SIDE = 256  # pixels: colours are counted on a picture thinned out to so many
MOST_NAME = 120  # characters of a file's name in a message
MOST_PAGES = 16  # of a TIFF file, when looking for a second film among its thumbnails
DECODE_SECONDS = 60  # for one frame in gdcm; 15 million pixels take 2

PICTURE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
EXPECTED = "expected PNG, JPEG, TIFF, BMP or DICOM"
# What a file of another kind starts with, so that the message can say what it is.
OWN_SIGNATURES = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"BM": "BMP"}
OTHER_SIGNATURES = {
    b"%PDF": "a PDF document",
    b"GIF8": "a GIF picture",
    b"RIFF": "a WebP picture or a sound",
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"\x1f\x8b": "a gzip archive",
    b"\0\0\0\x0cjP": "a JPEG 2000 picture",
    b"<": "a web page, an SVG drawing or other XML",
}  # fmt: skip

# All that is ever read of a DICOM file: names, numbers, dates and identifiers of persons and institutions stay where they are.
DICOM_TAGS = [
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing", "ImageLaterality", "Laterality", "Modality",
]  # fmt: skip
# What DICOM calls a device whose pictures are no plain radiographs (PS3.3, C.7.3.1.1.1). Any other code is read: CR, DX, RG and RF are plain
# radiographs, OT and SC are scans of films, and a code that nobody knows says nothing.
OTHER_MODALITIES = {
    "CT": "computed tomography", "MR": "magnetic resonance", "US": "ultrasound", "IVUS": "ultrasound", "PT": "positron emission tomography",
    "NM": "nuclear medicine", "MG": "mammography", "XA": "angiography", "IO": "dental radiography", "PX": "dental radiography",
    "BMD": "bone densitometry", "BDUS": "bone densitometry", "ES": "endoscopy", "XC": "photography", "GM": "microscopy", "SM": "microscopy",
    "DMS": "dermoscopy", "OP": "ophthalmology", "OPT": "ophthalmology", "IVOCT": "optical tomography", "OCT": "optical tomography",
    "TG": "thermography", "RTIMAGE": "radiotherapy", "RTDOSE": "radiotherapy", "SEG": "segmentation",
}  # fmt: skip
SPACING_KEYWORDS = ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing")  # at the detector; at the patient; of a film scanner
MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
DEFLATED = "1.2.840.10008.1.2.1.99"
# gdcm (JPEG lossless, JPEG-LS) ends the process on some damaged files: 3 of 4,500 mutated ones called std::terminate. So it has its own process.
GDCM_PROGRAM = """
import io, os, sys
import numpy, pydicom
answer = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # whatever a library prints does not get into the answer
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no memory dump with a patient's picture in it
except ImportError:
    pass  # not on Windows
dataset = pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read()), force=True)
dataset.pixel_array_options(decoding_plugin="gdcm")
pixels = io.BytesIO()
numpy.save(pixels, dataset.pixel_array, allow_pickle=False)
answer.write(pixels.getbuffer())
answer.close()
"""
logging.getLogger("PIL").addHandler(logging.NullHandler())  # without one, Python prints Pillow's log of a bad TIFF to stderr


class RadiographError(ValueError):
    """A file that is not a usable radiograph; the message is for the person who chose it."""


@dataclass(frozen=True)
class Provenance:
    """What a film was before it was read. It holds nothing that identifies a person, and no text from the file.

    Attributes
    ----------
    format : str
        'PNG', 'JPEG', 'TIFF', 'BMP' or 'DICOM'; '' where the film was not read from a file.
    transfer_syntax : str
        DICOM's name of how the pixels are stored, such as 'JPEG Baseline (Process 1)'; '' for other formats.
    bits_stored : int
        Bits of one sample that carry grey values.
    mode : str
        Pillow's mode ('L', 'I;16', 'RGB', 'P' …), or DICOM's photometric interpretation.
    width, height : int
        Pixels as stored: before an EXIF orientation is applied.
    inverted : bool
        The header says that bone is stored dark (DICOM MONOCHROME1, TIFF WhiteIsZero); it was turned to bone bright.
    windowed : bool
        A VOI LUT or window of the DICOM file was applied.
    orientation : int
        EXIF orientation that was applied, 1 to 8; 1 is upright.
    colour : str
        '' stored as grey; 'grey' stored as colour, but all channels alike; 'converted' real colours, reduced to their luma.
    coloured : float
        Share of the pixels, 0 to 1, with a colour of their own: neither grey nor the tint that a whole film may have.
    alpha : bool
        Had transparency, which was laid over black.
    other_modality : str
        What made the picture, where a DICOM file says that it is no plain radiograph ('magnetic resonance'); else ''.
    notes : tuple of str
        What else a reader should know, in words: a spacing or window that was not used, and why.
    """

    format: str = ""
    transfer_syntax: str = ""
    bits_stored: int = 0
    mode: str = ""
    width: int = 0
    height: int = 0
    inverted: bool = False
    windowed: bool = False
    orientation: int = 1
    colour: str = ""
    coloured: float = 0.0
    alpha: bool = False
    other_modality: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Radiograph:
    """One radiograph.

    Attributes
    ----------
    image : float32 array (H, W)
        Grey values in [0, 1], bone bright.
    spacing_mm : float or None
        Size of a pixel in mm; None where not known, or where pixels are not square.
    laterality : str
        'L', 'R' or '' where not known.
    provenance : Provenance
        What the file was; empty where the film comes from no file.
    """

    image: np.ndarray
    spacing_mm: float | None = None
    laterality: str = ""
    provenance: Provenance = Provenance()


def read_radiograph(source: Path | str | bytes, name: str = "") -> Radiograph:
    """Read PNG, JPEG, TIFF, BMP or DICOM, 8 to 16 bit, grey or colour; the content decides, not the file's name.

    Nothing that identifies a person is read from a DICOM file: only pixels, how to show them, spacing, laterality and the kind of device.

    Parameters
    ----------
    source : path or bytes
    name : str
        What to call the file in messages; default: its file name.

    Returns
    -------
    Radiograph
        The darkest pixel is 0, the brightest 1. DICOM: rescaled, windowed as the file says, and inverted if it is MONOCHROME1.
        `spacing_mm` is None, with a note in the provenance, where the file gives none, one that cannot be (text, NaN, not above zero,
        absurd), or rows and columns that differ by more than 1 %: one number would then be wrong in one direction.

    Raises
    ------
    RadiographError
        If the file is missing, empty, damaged, too large, multi-frame, blank, no ordinary file (a pipe, a device) or no image at all.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.linear_gradient("L").save(file, "PNG")
    >>> film = read_radiograph(file.getvalue())
    >>> film.image.shape, film.provenance.format, film.provenance.bits_stored
    ((256, 256), 'PNG', 8)
    """
    in_memory = isinstance(source, (bytes, bytearray, memoryview))
    shown = quote_name(name or ("the upload" if in_memory else Path(source).name or str(source)))
    try:
        return _read(bytes(source) if in_memory else _read_file(Path(source)))
    except RadiographError as error:
        raise RadiographError(f"{shown}: {error}") from error.__cause__


def quote_name(name: str) -> str:
    """A file's name for a message: quoted where it holds a line break or other invisible characters, cut where it is very long."""
    if len(name) > MOST_NAME:
        name = f"{name[: MOST_NAME - 20]}…{name[-19:]}"  # the end has the suffix
    return name if name.isprintable() and name == name.strip() else repr(name)


def _read(data: bytes) -> Radiograph:
    if not data:
        raise RadiographError("the file is empty")
    if len(data) > MAX_BYTES:
        raise RadiographError(f"{len(data) / 1e6:.0f} MB; expected at most {MAX_BYTES / 1e6:.0f} MB")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # Pillow and pydicom warn of every odd tag; what matters is checked here
        film = _read_dicom(data) if _is_dicom(data) else _read_picture(data)
        return Radiograph(_normalise(film.image), film.spacing_mm, film.laterality, film.provenance)


def _normalise(pixels: np.ndarray) -> np.ndarray:
    """Grey values from 0 to 1, float32."""
    if min(pixels.shape) < LEAST_SIDE:
        raise RadiographError(f"only {pixels.shape[1]} x {pixels.shape[0]} pixels; expected at least {LEAST_SIDE} x {LEAST_SIDE}")
    low, high = float(pixels.min()), float(pixels.max())  # NaN if any is
    if not np.isfinite([low, high]).all():
        raise RadiographError("holds grey values that are not finite numbers (NaN or infinite); save it again as 8 or 16 bit whole numbers")
    if high <= low:
        raise RadiographError("the picture is blank (every pixel has the same value)")
    if not 1e-30 < high - low < 1e30:  # where float32 would overflow
        pixels = pixels.astype(np.float64)
    image = pixels - low
    image /= high - low  # in place, and so on: a large film is 256 MB
    return np.clip(image, 0, 1, out=image).astype(np.float32, copy=False)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise RadiographError(f"{width} x {height} pixels; expected at most {MAX_PIXELS:,} in all")


def _check_jpeg_length(length: int, width: int, height: int) -> None:
    """Refuse a JPEG that cannot hold its picture: each block of 8 x 8 pixels takes a bit at least, and decoders fill what is missing with grey."""
    if 8 * length < (width // 8) * (height // 8):
        raise RadiographError(f"the file is cut short: {length} bytes cannot hold {width} x {height} pixels; export it again")


def _one_line(error: Exception) -> str:
    """An error of a library for a message: its kind and its words, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


# --- files ---


def _read_file(path: Path) -> bytes:
    """Content of an ordinary file. A pipe would block and a device never end, so neither is opened."""
    try:
        _check_ordinary(path.stat())
        # what stands there may have become a pipe since: opened without waiting, and looked at again
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            _check_ordinary(os.fstat(handle))
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, RadiographError):
            raise
        raise RadiographError(_explain_os_error(path, error)) from None


def _check_ordinary(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise RadiographError("this is a folder; expected the file of one film")
    if not stat.S_ISREG(found.st_mode):
        raise RadiographError("this is a pipe, a socket or a device; expected an ordinary file")
    if found.st_size > MAX_BYTES:
        raise RadiographError(f"{found.st_size / 1e6:.0f} MB; expected at most {MAX_BYTES / 1e6:.0f} MB")


def _explain_os_error(path: Path, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code == errno.ELOOP:
        return "the link leads in a circle; expected a link to a film"
    if code == errno.ENOENT and os.path.islink(path):
        return "the link leads to a file that is not there; there is no such file"
    if code in (errno.ENOENT, errno.ENOTDIR):
        return "there is no such file"
    if code in (errno.EACCES, errno.EPERM):
        return "the file may not be read; ask its owner for permission"
    if code == errno.ENAMETOOLONG:
        return "the name is too long for this machine; there is no such file"
    if isinstance(error, ValueError):
        return "the name holds a NUL character, which no file's name can; there is no such file"
    return f"the file cannot be read ({os.strerror(code) if code else type(error).__name__})"


# --- pictures ---


def _read_picture(data: bytes) -> Radiograph:
    """PNG, JPEG, TIFF or BMP; grey values as stored."""
    from PIL import Image, UnidentifiedImageError

    try:
        if data.startswith(b"\x89PNG"):
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                picture.verify()  # its checksums: when it loads pixels, Pillow does not look at them, nor for the end
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as picture:
            return _read_opened(picture, data)
    except RadiographError:
        raise
    except UnidentifiedImageError:
        raise RadiographError(_explain_unknown(data)) from None
    except Image.DecompressionBombError:
        raise RadiographError(f"the picture claims too many pixels; expected at most {MAX_PIXELS:,}") from None
    except Exception as error:  # Pillow's decoders raise many kinds; all mean a damaged file, and it is said
        raise RadiographError(f"the file is damaged ({_one_line(error)})") from error


def _explain_unknown(data: bytes) -> str:
    for signature, kind in OWN_SIGNATURES.items():
        if data.startswith(signature):
            return f"starts as {kind}, but is damaged, cut short or of a rare kind; export it again, as 8 or 16 bit grey"
    for signature, kind in OTHER_SIGNATURES.items():
        if data.startswith(signature):
            return f"this is {kind}; {EXPECTED}"
    return f"not a picture that can be read; {EXPECTED}"


def _read_opened(picture: Image.Image, data: bytes) -> Radiograph:
    width, height = picture.size
    _check_size(width, height)
    _check_single(picture)
    if picture.format in ("JPEG", "MPO"):
        _check_jpeg_length(len(data), width, height)
    is_tiff = picture.format == "TIFF"
    orientation, notes = _orientation_of(picture)
    if is_tiff and orientation >= 5:
        width, height = height, width  # Pillow reports, and loads, a TIFF upright
    mode, bits = picture.mode, _bits_of(picture, data)
    white_is_zero = is_tiff and picture.tag_v2.get(262) == 0
    if is_tiff and picture.info.get("compression") != "raw":
        with silence_native_stderr():  # libtiff and libpng print each complaint; what matters of it comes back as an error
            picture.load()
    grey, colour, coloured, alpha = _grey_of(picture, data)
    if white_is_zero and mode not in ("1", "L", "P"):  # those Pillow inverts itself
        grey = grey.max() - grey
    if not is_tiff:
        grey = _turn_upright(grey, orientation)
    kind = "JPEG" if picture.format == "MPO" else str(picture.format)
    stored = Provenance(kind, "", bits, mode, width, height, white_is_zero, False, orientation, colour, coloured, alpha, "", notes)
    return Radiograph(grey, None, "", stored)


def _check_single(picture: Image.Image) -> None:
    """One film to a file. A TIFF may carry small copies of its picture, and an MPO is a telephone's JPEG with a preview behind it."""
    if picture.format != "TIFF":
        if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
            raise RadiographError(f"holds {picture.n_frames} pictures; expected one film")
        return
    try:
        for page in range(1, MOST_PAGES + 1):
            picture.seek(page)
            if not picture.tag_v2.get(254, 0) & 1:  # NewSubfileType: a reduced copy
                raise RadiographError("holds more than one picture; expected one film")
        raise RadiographError(f"holds more than {MOST_PAGES} pictures; expected one film")
    except EOFError:
        picture.seek(0)  # there are no more pages


def _orientation_of(picture: Image.Image) -> tuple[int, tuple[str, ...]]:
    """EXIF orientation, 1 to 8, and a note where the EXIF block cannot be read: viewers show such a film, so it is read."""
    try:
        value = picture.getexif().get(274, 1)
    except (SyntaxError, struct.error, ValueError, TypeError, KeyError, IndexError, OSError, OverflowError):
        return 1, ("the EXIF block is damaged; the film is taken as upright",)
    if isinstance(value, int) and 1 <= value <= 8:
        return value, ()
    return 1, ("the EXIF orientation is none of 1 to 8; the film is taken as upright",)


def _turn_upright(grey: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        grey = grey.T
    flip_rows, flip_columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(grey[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _bits_of(picture: Image.Image, data: bytes) -> int:
    """Bits of one sample as stored; of a palette, those of its colours."""
    if picture.mode == "P":
        return 8
    if picture.format == "PNG":
        return data[24]
    if picture.format == "TIFF":
        return int(max(picture.tag_v2.get(258, (1,))))
    return 1 if picture.mode == "1" else 8


def _grey_of(picture: Image.Image, data: bytes) -> tuple[np.ndarray, str, float, bool]:
    """Grey values float32 (H, W), how colour was treated, how much there was, and whether there was transparency."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return np.asarray(picture, dtype=np.float32), "", 0.0, False
    transparent = "transparency" in picture.info or picture.mode in ("LA", "PA", "RGBA", "RGBa")
    if picture.mode in ("1", "L") and not transparent:
        return np.asarray(picture.convert("L"), dtype=np.float32), "", 0.0, False
    if picture.mode not in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"):
        raise RadiographError(f"stored in the colour space {picture.mode}, which is not read; save it as grey")
    if picture.format == "PNG" and data[24] == 16:
        samples, full = _decode_deep_png(data), 65535
    else:
        samples, full = np.asarray(picture.convert("RGBA" if transparent else "RGB")), 255
    grey, colour, coloured = _reduce_colour(samples, full)
    if samples.shape[2] == 4:
        grey = grey * (samples[..., 3] / np.float32(full))
    return grey, "" if picture.mode in ("1", "L", "LA") else colour, coloured, samples.shape[2] == 4


def _decode_deep_png(data: bytes) -> np.ndarray:
    """A PNG of 16 bits a channel as RGB or RGBA, uint16: Pillow would drop the lower half of every sample.

    Pillow has read it before, so its chunks are whole. Only those with pixels are handed on: libpng writes its complaints of others to stderr.
    """
    import cv2

    kept, place = [data[:8]], 8
    while place + 8 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] in (b"IHDR", b"PLTE", b"IDAT", b"tRNS"):
            kept.append(data[place:end])
        place = end
    kept.append(b"\0\0\0\0IEND\xaeB`\x82")
    with silence_native_stderr():  # libtiff and libpng print each complaint; what matters of it comes back as an error
        samples = cv2.imdecode(np.frombuffer(b"".join(kept), np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.ndim != 3:
        raise RadiographError("the file is damaged (its 16-bit colours cannot be decoded)")
    return np.concatenate([samples[..., 2::-1], samples[..., 3:]], axis=2)  # from BGR(A)


def _reduce_colour(samples: np.ndarray, full: float) -> tuple[np.ndarray, str, float]:
    """Luma (ITU-R BT.601) of RGB samples (H, W, 3 or more), float32; 'grey' where the channels agree, else 'converted'; share of coloured pixels."""
    red, green, blue = (samples[..., i] for i in range(3))
    top, bottom = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    spread = float((top - bottom).max(initial=0)) / full
    if spread == 0:
        return red.astype(np.float32), "grey", 0.0
    grey = red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)
    return (grey, "converted", _share_coloured(samples[..., :3], full)) if spread > COLOUR_SPREAD else (grey, "grey", 0.0)


def _share_coloured(samples: np.ndarray, full: float) -> float:
    """Share of the pixels of RGB samples (H, W, 3) that are farther than TINT_SPREAD from the film's tint: a parabola over the grey value."""
    step = max(1, -(-max(samples.shape) // TINT_SIDE))
    red, green, blue = (samples[::step, ::step, i].ravel() / full for i in range(3))
    chroma = np.stack([red - green, green - blue], axis=1)
    grey = np.vander((red + green + blue) / 3, 3)
    tint = grey @ np.linalg.lstsq(grey, chroma, rcond=None)[0]
    return float((np.abs(chroma - tint).max(axis=1) > TINT_SPREAD).mean())


# --- DICOM ---


def _is_dicom(data: bytes) -> bool:
    """Whether the file says so, or starts as a dataset without the preamble does: with a low even group that is no other format's start."""
    if data[128:132] == b"DICM" or data[:4] == b"DICM":
        return True
    if any(data.startswith(s) for s in (*OWN_SIGNATURES, *OTHER_SIGNATURES)) or len(data) < 16:
        return False
    first_group = {int.from_bytes(data[:2], "little"), int.from_bytes(data[:2], "big")}
    return bool(first_group & {0x0002, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028})


def _read_dicom(data: bytes) -> Radiograph:
    """A DICOM file; grey values after rescaling, window and polarity."""
    marked = data[128:132] == b"DICM"
    if data[:4] == b"DICM":
        data = b"\0" * 128 + data
    notes = [] if marked else ["the DICOM preamble is missing"]
    try:
        dataset, syntax = _parse_dicom(data, marked)
        _check_dicom(dataset, marked)
        grey, colour, coloured, windowed = _show_dicom(_decode_dicom(dataset, syntax, data), dataset, notes)
    except RadiographError:
        raise
    except Exception as error:  # pydicom's decoders raise many kinds; all mean a damaged file, and it is said
        raise RadiographError(f"the DICOM file cannot be read ({_one_line(error)})") from None
    photometric = _photometric(dataset)
    inverted = photometric == "MONOCHROME1"
    if inverted:  # after the window, which is stated for the values as stored
        grey = grey.max() - grey
    spacing_mm = _spacing_of(dataset, notes)
    bits, width, height = (_whole_number(dataset, k) for k in ("BitsStored", "Columns", "Rows"))
    other = OTHER_MODALITIES.get(str(_value(dataset, "Modality") or "").strip().upper(), "")
    stored = Provenance("DICOM", _syntax_name(syntax), bits, photometric, width, height, inverted, windowed, 1, colour, coloured, False, other, tuple(notes))
    return Radiograph(grey, spacing_mm, _laterality_of(dataset), stored)


def _parse_dicom(data: bytes, marked: bool) -> tuple[FileDataset, str]:
    """The few elements that are needed, and the transfer syntax: as stated, else as found."""
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        _check_deflated(data)
        dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=DICOM_TAGS)
        stated = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    except RadiographError:
        raise
    except Exception as error:  # of many kinds; the words are left out, for they may quote the file
        words = f"the DICOM file is damaged or cut short ({type(error).__name__}); export it again"
        raise RadiographError(words if marked else f"not a picture that can be read; {EXPECTED}") from None
    if not stated:
        implicit, little = dataset.original_encoding
        stated = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = stated
    return dataset, str(stated)


def _check_deflated(data: bytes) -> None:
    """Refuse a deflated file that would unpack to more than MAX_BYTES; pydicom unpacks it whole, whatever its size."""
    from pydicom.filereader import read_dataset

    file = io.BytesIO(data)
    file.seek(132 if data[128:132] == b"DICM" else 0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") != DEFLATED:
        return
    unpacker, packed, size = zlib.decompressobj(-zlib.MAX_WBITS), file.read(), 0
    while packed and not unpacker.eof:
        size += len(unpacker.decompress(packed, 1 << 20))
        packed = unpacker.unconsumed_tail
        if size > MAX_BYTES:
            raise RadiographError(f"the deflated DICOM file unpacks to more than {MAX_BYTES / 1e6:.0f} MB; expected one film")


def _syntax_name(syntax: str) -> str:
    """DICOM's name of a transfer syntax; for one that is not in the standard no number, for that may be anybody's."""
    from pydicom.uid import UID

    name = UID(syntax).name
    return "an unknown transfer syntax" if name == syntax else name


def _value(dataset: FileDataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom converts a value when it is asked for, and raises many kinds
        raise RadiographError(f"the DICOM value of {keyword} cannot be read; export the film again") from None


def _whole_number(dataset: FileDataset, keyword: str, default: int = 0) -> int:
    value = _value(dataset, keyword)
    try:
        return default if value in (None, "") else int(value)
    except (ValueError, TypeError, OverflowError):
        raise RadiographError(f"the DICOM value of {keyword} is no whole number; export the film again") from None


def _check_number(dataset: FileDataset, keyword: str) -> None:
    try:
        if np.isfinite(float(_value(dataset, keyword) or 0)):
            return
    except (ValueError, TypeError):
        pass  # text, or several: refused below
    raise RadiographError(f"the DICOM value of {keyword} is no finite number; export the film again")


def _photometric(dataset: FileDataset) -> str:
    value = str(_value(dataset, "PhotometricInterpretation") or "")
    if value not in (*MONOCHROME, *COLOUR):
        raise RadiographError(f"the DICOM PhotometricInterpretation is {'not one that is read' if value else 'missing'}; expected MONOCHROME1 or MONOCHROME2")
    return value


def _check_dicom(dataset: FileDataset, marked: bool) -> None:
    """One film, of a size and kind that can be decoded."""
    if all(_value(dataset, k) in (None, b"", "") for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        if not marked:
            raise RadiographError(f"not a picture that can be read; {EXPECTED}")
        raise RadiographError("the DICOM file holds no pixels: it is cut short, or a report, an index or another object without a picture")
    width, height = _whole_number(dataset, "Columns"), _whole_number(dataset, "Rows")
    if width < 1 or height < 1:
        raise RadiographError(f"the DICOM file says {width} x {height} pixels; expected at least {LEAST_SIDE} x {LEAST_SIDE}")
    _check_size(width, height)
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        _check_number(dataset, keyword)
    frames, samples = _whole_number(dataset, "NumberOfFrames", 1), _whole_number(dataset, "SamplesPerPixel", 1)
    if frames > 1:
        raise RadiographError(f"holds {frames} frames; expected one film")
    if samples != (3 if _photometric(dataset) in COLOUR and _photometric(dataset) != "PALETTE COLOR" else 1):
        raise RadiographError(f"the DICOM file says {samples} samples per pixel, which its {_photometric(dataset)} does not have; export it again")


def _decode_dicom(dataset: FileDataset, syntax: str, data: bytes) -> np.ndarray:
    """Pixels as stored: (H, W), or (H, W, 3) as RGB."""
    if "PixelData" in dataset:
        decoder = _choose_decoder(dataset, syntax)
        if decoder == "gdcm":
            return _decode_apart(data, (_whole_number(dataset, "Rows"), _whole_number(dataset, "Columns")))
        dataset.pixel_array_options(decoding_plugin=decoder)
    return dataset.pixel_array


def _decode_apart(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Pixels from gdcm in a process of its own, which takes 0.3 s to start."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", GDCM_PROGRAM]
    try:
        done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=DECODE_SECONDS, check=True)
        pixels = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    except (subprocess.SubprocessError, ValueError, EOFError) as error:
        raise RadiographError(f"the compressed pixels cannot be decoded ({type(error).__name__}); export the film again") from None
    if pixels.shape[:2] != shape:
        raise RadiographError("the compressed pixels do not fill the picture; export the film again")
    return pixels


def _show_dicom(pixels: np.ndarray, dataset: FileDataset, notes: list[str]) -> tuple[np.ndarray, str, float, bool]:
    """Grey values float32 (H, W) before polarity, how colour was treated, how much there was, and whether a window was used."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    if _photometric(dataset) == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    if pixels.ndim == 3:
        return *_reduce_colour(pixels, np.iinfo(pixels.dtype).max), False
    pixels, windowed = _apply_window(apply_modality_lut(pixels, dataset), dataset, notes)
    return pixels.astype(np.float32), "", 0.0, windowed


def _apply_window(pixels: np.ndarray, dataset: FileDataset, notes: list[str]) -> tuple[np.ndarray, bool]:
    """The picture as the file's VOI LUT or window shows it; unchanged, with a note, where that is senseless or shows nothing."""
    from pydicom.pixels import apply_voi_lut

    if not dataset.get("VOILUTSequence") and None in (dataset.get("WindowCenter"), dataset.get("WindowWidth")):
        return pixels, False
    try:
        shown = apply_voi_lut(pixels, dataset)
        low, high = float(shown.min()), float(shown.max())
    except Exception as error:  # of many kinds: a width of zero, words for numbers, a table cut short
        notes.append(f"the window or VOI LUT cannot be used and was left out ({type(error).__name__})")
        return pixels, False
    if not (np.isfinite([low, high]).all() and high > low):
        notes.append("the window or VOI LUT shows a blank picture and was left out")
        return pixels, False
    return shown, True


def _choose_decoder(dataset: FileDataset, syntax: str) -> str:
    """pydicom's plugin for the pixels, after a look at them.

    The decoders are C++ and trust what they are told, so sizes that do not agree are refused before they see them. Pillow is preferred where
    it can: its decoders are the most tried.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

    uid = UID(syntax)
    if not uid.is_transfer_syntax or not _has_decoder(get_decoder, uid):
        raise RadiographError(f"the pixels are stored as {_syntax_name(syntax)}, which is not read; convert the file first, for example with gdcmconv --raw")
    if not uid.is_compressed or uid == DEFLATED:
        return ""
    frame = _first_frame(dataset)
    width, height = _whole_number(dataset, "Columns"), _whole_number(dataset, "Rows")
    if uid == RLELossless:
        _check_rle(frame, width * height)
        return "pydicom"
    found = _codestream_size(frame)
    if found != (width, height):
        inside = f"{found[0]} x {found[1]} pixels" if found else "no picture"
        raise RadiographError(f"the DICOM header says {width} x {height} pixels, the compressed pixels in it {inside}; the file is damaged")
    if b"\xff\xd9" not in frame[-16:]:
        raise RadiographError("the compressed pixels are cut short; export the film again")
    if uid == JPEGExtended12Bit and _whole_number(dataset, "BitsStored") != 8:
        raise RadiographError("the pixels are stored as 12-bit JPEG Extended, which is not read; convert the file first, for example with dcmdjpeg")
    if uid in (JPEGBaseline8Bit, JPEGExtended12Bit):
        _check_jpeg_length(len(frame), width, height)
        return "pillow"
    return "pillow" if uid in JPEG2000TransferSyntaxes else "gdcm"


def _has_decoder(get_decoder: Any, uid: str) -> bool:
    try:
        return bool(get_decoder(uid).is_available)
    except NotImplementedError:
        return False


def _first_frame(dataset: FileDataset) -> bytes:
    from pydicom.encaps import get_frame

    try:
        return get_frame(dataset.PixelData, 0, number_of_frames=1)
    except Exception as error:  # struct.error, ValueError, EOFError …: the fragments do not follow one another
        raise RadiographError(f"the compressed pixels are damaged or cut short ({type(error).__name__}); export the film again") from None


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG, JPEG-LS or JPEG 2000 stream states of itself."""
    if frame.startswith(b"\0\0\0\x0cjP"):  # JPEG 2000 in its file format, which the standard forbids and some write
        frame = frame[max(frame.find(b"\xff\x4f\xff\x51", 0, 4096), 0) :]
    if frame.startswith(b"\xff\x4f\xff\x51") and len(frame) >= 24:  # JPEG 2000: SIZ follows at once
        right, bottom, left, top = struct.unpack(">4L", frame[8:24])
        return right - left, bottom - top
    place = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xFF:  # fill
            place += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):  # start of frame
            height, width = struct.unpack(">2H", frame[place + 5 : place + 9])
            return width, height
        else:
            place += 2 + length
    return None


def _check_rle(frame: bytes, plane: int) -> None:
    """Refuse segments that unpack to more than a plane of pixels: two bytes may stand for 128, and pydicom unpacks them all."""
    count, *offsets = struct.unpack("<16L", frame[:64].ljust(64, b"\0"))
    starts = [*offsets[: min(count, 15)], len(frame)]
    for start, end in zip(starts, starts[1:], strict=False):
        place, size = start, 0
        while place < min(end, len(frame)):
            code = frame[place]
            size += 0 if code == 128 else code + 1 if code < 128 else 257 - code
            place += 1 if code == 128 else 2 + code if code < 128 else 2
            if size > plane + 256:  # a little padding is common
                raise RadiographError("the RLE pixels unpack to more than the picture has; the file is damaged")


def _spacing_of(dataset: FileDataset, notes: list[str]) -> float | None:
    """Size of a pixel in mm from the first element that has a usable one; what was passed over is noted."""
    for keyword in SPACING_KEYWORDS:
        try:
            value = dataset.get(keyword)
            if value in (None, ""):
                continue
            row, column = (float(v) for v in value)
        except Exception:  # text, one number, three: pydicom converts when asked, and raises many kinds
            notes.append(f"{keyword} is not two numbers and was left out")
            continue
        least, most = SPACING_RANGE_MM
        if not (least <= row <= most and least <= column <= most):  # NaN fails too
            notes.append(f"{keyword} is not between {least} and {most:g} mm and was left out")
        elif abs(row - column) > MOST_ANISOTROPY * min(row, column):
            notes.append(f"{keyword}: pixels are not square ({row:g} x {column:g} mm), so no single spacing holds")
            return None
        else:
            return (row + column) / 2
    return None


def _laterality_of(dataset: FileDataset) -> str:
    for keyword in ("ImageLaterality", "Laterality"):
        side = str(_value(dataset, keyword) or "").strip().upper()
        if side in ("L", "R"):
            return side
    return ""
