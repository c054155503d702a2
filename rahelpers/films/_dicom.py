"""DICOM files: what is read of them, how it is decoded, and how it is shown."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from rahelpers.films._picture import (
    EXPECTED,
    OTHER_SIGNATURES,
    OWN_SIGNATURES,
    check_jpeg_length,
    reduce_colour,
)
from rahelpers.films.radiograph import (
    LEAST_SIDE,
    MAX_BYTES,
    Provenance,
    Radiograph,
    RadiographError,
    check_pixel_count,
    one_line,
)

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

SPACING_RANGE_MM = (0.001, 10.0)  # of a pixel; a detector has 0.1 to 0.2, a thumbnail up to 2
# rows and columns may differ by one per cent: a hand of 200 mm is then right within 1 mm
MOST_ANISOTROPY = 0.01
DECODE_SECONDS = 60  # for one frame in gdcm; 15 million pixels take 2
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# at the detector; at the patient; of a film scanner
SPACING_KEYWORDS = ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing")
# All that is ever read of a DICOM file: names, numbers, dates and identifiers of persons and
# institutions are not.
DICOM_TAGS = [
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    *PIXEL_KEYWORDS,
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    *(
        f"{segmented}{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for segmented, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    ),
    *SPACING_KEYWORDS,
    "ImageLaterality",
    "Laterality",
    "Modality",
]
# What DICOM calls a device whose pictures are not plain radiographs (PS3.3, C.7.3.1.1.1). Any other
# code is read: CR, DX, RG and RF are plain radiographs, OT and SC are scans of films, and an
# unknown code says nothing.
OTHER_MODALITIES = {
    "CT": "computed tomography",
    "MR": "magnetic resonance",
    "US": "ultrasound",
    "IVUS": "ultrasound",
    "PT": "positron emission tomography",
    "NM": "nuclear medicine",
    "MG": "mammography",
    "XA": "angiography",
    "IO": "dental radiography",
    "PX": "dental radiography",
    "BMD": "bone densitometry",
    "BDUS": "bone densitometry",
    "ES": "endoscopy",
    "XC": "photography",
    "GM": "microscopy",
    "SM": "microscopy",
    "DMS": "dermoscopy",
    "OP": "ophthalmology",
    "OPT": "ophthalmology",
    "IVOCT": "optical tomography",
    "OCT": "optical tomography",
    "TG": "thermography",
    "RTIMAGE": "radiotherapy",
    "RTDOSE": "radiotherapy",
    "SEG": "segmentation",
}
MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
DEFLATED = "1.2.840.10008.1.2.1.99"
# gdcm (JPEG lossless, JPEG-LS) ends the process on some damaged files: 3 of 4,500 mutated ones
# called std::terminate. So it has a process of its own.
GDCM_PROGRAM = """
import io, os, sys
import numpy, pydicom
answer = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # whatever a library prints stays out of the answer
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no memory dump with a patient's picture
except ImportError:
    pass  # not on Windows
dataset = pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read()), force=True)
dataset.pixel_array_options(decoding_plugin="gdcm")
pixels = io.BytesIO()
numpy.save(pixels, dataset.pixel_array, allow_pickle=False)
answer.write(pixels.getbuffer())
answer.close()
"""


def is_dicom(data: bytes) -> bool:
    """Whether a file says that it is DICOM, or starts as a dataset without the preamble does.

    Such a dataset starts with a low even group that is not the start of another format.
    """
    if data[128:132] == b"DICM" or data[:4] == b"DICM":
        return True
    if any(data.startswith(s) for s in (*OWN_SIGNATURES, *OTHER_SIGNATURES)) or len(data) < 16:
        return False
    first_group = {int.from_bytes(data[:2], "little"), int.from_bytes(data[:2], "big")}
    return bool(first_group & {0x0002, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028})


def read_dicom(data: bytes) -> Radiograph:
    """Read a DICOM file; grey values after rescaling, window and polarity."""
    marked = data[128:132] == b"DICM"
    if data[:4] == b"DICM":
        data = b"\0" * 128 + data
    notes = [] if marked else ["the DICOM preamble is missing"]
    # the pixels; pydicom's decoders raise errors of many kinds, which all mean a damaged file
    try:
        dataset, syntax = _parse_dicom(data, marked)
        _check_dicom(dataset, marked)
        pixels = _decode_dicom(dataset, syntax, data)
        grey, colour, coloured, windowed = _show_dicom(pixels, dataset, notes)
    except RadiographError:
        raise
    except Exception as error:
        raise RadiographError(f"the DICOM file cannot be read ({one_line(error)})") from None
    photometric = _photometric(dataset)
    inverted = photometric == "MONOCHROME1"
    if inverted:  # after the window, which is stated for the values as stored
        grey = grey.max() - grey
    # what else is known
    spacing_mm = _spacing_of(dataset, notes)
    modality = str(_value(dataset, "Modality") or "").strip().upper()
    stored = Provenance(
        format="DICOM",
        transfer_syntax=_syntax_name(syntax),
        bits_stored=_whole_number(dataset, "BitsStored"),
        mode=photometric,
        width=_whole_number(dataset, "Columns"),
        height=_whole_number(dataset, "Rows"),
        inverted=inverted,
        windowed=windowed,
        colour=colour,
        coloured=coloured,
        other_modality=OTHER_MODALITIES.get(modality, ""),
        notes=tuple(notes),
    )
    return Radiograph(grey, spacing_mm, _laterality_of(dataset), stored)


def _parse_dicom(data: bytes, marked: bool) -> tuple[FileDataset, str]:
    """Read the few elements that are needed, and the transfer syntax: as stated, or as found."""
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        _check_deflated(data)
        dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=DICOM_TAGS)
        stated = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    except RadiographError:
        raise
    except Exception as error:  # of many kinds; its words are left out, as they may quote the file
        words = f"not a picture that can be read; {EXPECTED}"
        if marked:
            kind = type(error).__name__
            words = f"the DICOM file is damaged or cut short ({kind}); export it again"
        raise RadiographError(words) from None
    if not stated:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        stated = ImplicitVRLittleEndian if implicit else explicit
        dataset.file_meta.TransferSyntaxUID = stated
    return dataset, str(stated)


def _check_deflated(data: bytes) -> None:
    """Refuse a deflated file that would unpack to more than MAX_BYTES.

    pydicom unpacks all of it, whatever its size.
    """
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
            raise RadiographError(
                f"the deflated DICOM file unpacks to more than {MAX_BYTES / 1e6:.0f} MB; expected"
                " one film"
            )


def _syntax_name(syntax: str) -> str:
    """DICOM's name of a transfer syntax.

    For one that is not in the standard its number is not given: it could identify somebody.
    """
    from pydicom.uid import UID

    name = UID(syntax).name
    return "an unknown transfer syntax" if name == syntax else name


def _value(dataset: FileDataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom converts a value when asked, and raises errors of many kinds
        raise RadiographError(
            f"the DICOM value of {keyword} cannot be read; export the film again"
        ) from None


def _whole_number(dataset: FileDataset, keyword: str, default: int = 0) -> int:
    value = _value(dataset, keyword)
    try:
        return default if value in (None, "") else int(value)
    except (ValueError, TypeError, OverflowError):
        raise RadiographError(
            f"the DICOM value of {keyword} is not a whole number; export the film again"
        ) from None


def _check_number(dataset: FileDataset, keyword: str) -> None:
    try:
        if np.isfinite(float(_value(dataset, keyword) or 0)):
            return
    except (ValueError, TypeError):
        pass  # text, or several: refused below
    raise RadiographError(
        f"the DICOM value of {keyword} is not a finite number; export the film again"
    )


def _photometric(dataset: FileDataset) -> str:
    value = str(_value(dataset, "PhotometricInterpretation") or "")
    if value not in (*MONOCHROME, *COLOUR):
        problem = "not one that is read" if value else "missing"
        raise RadiographError(
            f"the DICOM PhotometricInterpretation is {problem}; expected MONOCHROME1 or MONOCHROME2"
        )
    return value


def _check_dicom(dataset: FileDataset, marked: bool) -> None:
    """Refuse what is not one film, of a size and kind that can be decoded."""
    # pixels there are
    if all(_value(dataset, keyword) in (None, b"", "") for keyword in PIXEL_KEYWORDS):
        if not marked:
            raise RadiographError(f"not a picture that can be read; {EXPECTED}")
        raise RadiographError(
            "the DICOM file holds no pixels: it is cut short, or a report, an index or another"
            " object without a picture"
        )
    # a size that can be
    width, height = _whole_number(dataset, "Columns"), _whole_number(dataset, "Rows")
    if width < 1 or height < 1:
        raise RadiographError(
            f"the DICOM file says {width} x {height} pixels; expected at least {LEAST_SIDE} x"
            f" {LEAST_SIDE}"
        )
    check_pixel_count(width, height)
    # numbers that make sense together
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        _check_number(dataset, keyword)
    frames = _whole_number(dataset, "NumberOfFrames", 1)
    if frames > 1:
        raise RadiographError(f"holds {frames} frames; expected one film")
    samples, photometric = _whole_number(dataset, "SamplesPerPixel", 1), _photometric(dataset)
    if samples != (3 if photometric in COLOUR and photometric != "PALETTE COLOR" else 1):
        raise RadiographError(
            f"the DICOM file says {samples} samples per pixel, which its {photometric} does not"
            " have; export it again"
        )


def _decode_dicom(dataset: FileDataset, syntax: str, data: bytes) -> np.ndarray:
    """Decode the pixels as stored: (H, W), or (H, W, 3) as RGB."""
    if "PixelData" in dataset:
        decoder = _choose_decoder(dataset, syntax)
        if decoder == "gdcm":
            shape = (_whole_number(dataset, "Rows"), _whole_number(dataset, "Columns"))
            return _decode_apart(data, shape)
        dataset.pixel_array_options(decoding_plugin=decoder)
    return dataset.pixel_array


def _decode_apart(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Decode the pixels with gdcm in a process of its own, which takes 0.3 s to start."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", GDCM_PROGRAM]
    try:
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=DECODE_SECONDS,
            check=True,
        )
        pixels = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    except (subprocess.SubprocessError, ValueError, EOFError) as error:
        raise RadiographError(
            f"the compressed pixels cannot be decoded ({type(error).__name__}); export the film"
            " again"
        ) from None
    if pixels.shape[:2] != shape:
        raise RadiographError(
            "the compressed pixels do not fill the picture; export the film again"
        )
    return pixels


def _show_dicom(
    pixels: np.ndarray, dataset: FileDataset, notes: list[str]
) -> tuple[np.ndarray, str, float, bool]:
    """Show the pixels as the file says, before polarity.

    Returns
    -------
    grey : float32 array (H, W)
    colour, coloured, windowed
        As in `Provenance`.
    """
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    if _photometric(dataset) == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    if pixels.ndim == 3:
        return *reduce_colour(pixels, np.iinfo(pixels.dtype).max), False
    pixels, windowed = _apply_window(apply_modality_lut(pixels, dataset), dataset, notes)
    return pixels.astype(np.float32), "", 0.0, windowed


def _apply_window(
    pixels: np.ndarray, dataset: FileDataset, notes: list[str]
) -> tuple[np.ndarray, bool]:
    """Apply the file's VOI LUT or window; where it makes no sense or shows nothing, note that."""
    from pydicom.pixels import apply_voi_lut

    window = (dataset.get("WindowCenter"), dataset.get("WindowWidth"))
    if not dataset.get("VOILUTSequence") and None in window:
        return pixels, False
    try:
        shown = apply_voi_lut(pixels, dataset)
        low, high = float(shown.min()), float(shown.max())
    except Exception as error:
        # of many kinds: a width of zero, words for numbers, a table cut short
        notes.append(
            f"the window or VOI LUT cannot be used and was left out ({type(error).__name__})"
        )
        return pixels, False
    if not (np.isfinite([low, high]).all() and high > low):
        notes.append("the window or VOI LUT shows a blank picture and was left out")
        return pixels, False
    return shown, True


def _choose_decoder(dataset: FileDataset, syntax: str) -> str:
    """Choose pydicom's plugin for the pixels, after a look at them.

    The decoders are C++ and trust what they are told, so sizes that do not agree are refused before
    they see them. Pillow is preferred where it can decode: its decoders are the best tested.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import (
        UID,
        JPEG2000TransferSyntaxes,
        JPEGBaseline8Bit,
        JPEGExtended12Bit,
        RLELossless,
    )

    # a syntax that is read; pydicom itself decodes what is not compressed
    uid = UID(syntax)
    if not uid.is_transfer_syntax or not _has_decoder(get_decoder, uid):
        raise RadiographError(
            f"the pixels are stored as {_syntax_name(syntax)}, which is not read; convert the file"
            " first, for example with gdcmconv --raw"
        )
    if not uid.is_compressed or uid == DEFLATED:
        return ""
    # one frame that is as large as the header says, and complete
    frame = _first_frame(dataset)
    width, height = _whole_number(dataset, "Columns"), _whole_number(dataset, "Rows")
    if uid == RLELossless:
        _check_rle(frame, width * height)
        return "pydicom"
    found = _codestream_size(frame)
    if found != (width, height):
        inside = f"{found[0]} x {found[1]} pixels" if found else "no picture"
        raise RadiographError(
            f"the DICOM header says {width} x {height} pixels, but the compressed data holds"
            f" {inside}; the file is damaged"
        )
    if b"\xff\xd9" not in frame[-16:]:
        raise RadiographError("the compressed pixels are cut short; export the film again")
    if uid == JPEGExtended12Bit and _whole_number(dataset, "BitsStored") != 8:
        raise RadiographError(
            "the pixels are stored as 12-bit JPEG Extended, which is not read; convert the file"
            " first, for example with dcmdjpeg"
        )
    if uid in (JPEGBaseline8Bit, JPEGExtended12Bit):
        check_jpeg_length(len(frame), width, height)
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
    except Exception as error:
        # struct.error, ValueError, EOFError …: the fragments do not follow each other
        raise RadiographError(
            f"the compressed pixels are damaged or cut short ({type(error).__name__}); export the"
            " film again"
        ) from None


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG, JPEG-LS or JPEG 2000 stream states about itself."""
    # JPEG 2000 in its file format, which the standard forbids and some write
    if frame.startswith(b"\0\0\0\x0cjP"):
        frame = frame[max(frame.find(b"\xff\x4f\xff\x51", 0, 4096), 0) :]
    if frame.startswith(b"\xff\x4f\xff\x51") and len(frame) >= 24:  # JPEG 2000: SIZ follows at once
        right, bottom, left, top = struct.unpack(">4L", frame[8:24])
        return right - left, bottom - top
    # JPEG and JPEG-LS: from segment to segment, up to the start of the frame
    place = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xFF:  # fill
            place += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack(">2H", frame[place + 5 : place + 9])
            return width, height
        else:
            place += 2 + length
    return None


def _check_rle(frame: bytes, plane: int) -> None:
    """Refuse segments that unpack to more than a plane of pixels.

    Two bytes may stand for 128, and pydicom unpacks them all.
    """
    count, *offsets = struct.unpack("<16L", frame[:64].ljust(64, b"\0"))
    starts = [*offsets[: min(count, 15)], len(frame)]
    for start, end in zip(starts, starts[1:], strict=False):
        place, size = start, 0
        while place < min(end, len(frame)):
            code = frame[place]
            size += 0 if code == 128 else code + 1 if code < 128 else 257 - code
            place += 1 if code == 128 else 2 + code if code < 128 else 2
            if size > plane + 256:  # a little padding is common
                raise RadiographError(
                    "the RLE pixels unpack to more than the picture has; the file is damaged"
                )


def _spacing_of(dataset: FileDataset, notes: list[str]) -> float | None:
    """Size of a pixel in mm from the first element with a usable one; the others are noted."""
    for keyword in SPACING_KEYWORDS:
        try:
            value = dataset.get(keyword)
            if value in (None, ""):
                continue
            row, column = (float(v) for v in value)
        except Exception:
            # text, one number, three: pydicom converts when asked, and raises errors of many kinds
            notes.append(f"{keyword} is not two numbers and was left out")
            continue
        least, most = SPACING_RANGE_MM
        if not (least <= row <= most and least <= column <= most):  # NaN fails too
            notes.append(f"{keyword} is not between {least} and {most:g} mm and was left out")
        elif abs(row - column) > MOST_ANISOTROPY * min(row, column):
            size = f"{row:g} x {column:g} mm"
            notes.append(f"{keyword}: pixels are not square ({size}), so no single spacing holds")
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
