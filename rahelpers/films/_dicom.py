"""DICOM files: what is read of them, how it is decoded, and how it is shown."""

from __future__ import annotations

import io
import json
import math
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from rahelpers.films._dicom_display import show_pixels
from rahelpers.films._dicom_elements import (
    COLOUR,
    DICOM_TAGS,
    PIXEL_KEYWORDS,
    SPACING_KEYWORDS,
    pixel_keyword,
    read_elements,
    stored_values,
)
from rahelpers.films._picture import (
    EXPECTED,
    OTHER_SIGNATURES,
    OWN_SIGNATURES,
    check_jpeg_length,
)
from rahelpers.films.radiograph import (
    LEAST_SIDE,
    MAX_BYTES,
    Provenance,
    Radiograph,
    RadiographError,
    check_pixel_count,
)

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

SPACING_RANGE_MM = (0.001, 10.0)  # of a pixel; a detector has 0.1 to 0.2, a thumbnail up to 2
# rows and columns may differ by one per cent: a hand of 200 mm is then right within 1 mm
MOST_ANISOTROPY = 0.01
DECODE_SECONDS = 60  # for one frame in gdcm; 15 million pixels take 2
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
DEFLATED = "1.2.840.10008.1.2.1.99"
# Some streams can be decoded, but pydicom asks no decoder for them by this name: OpenJPEG, which
# Pillow uses, also decodes high-throughput JPEG 2000, and gdcm 12-bit JPEG as any other JPEG.
HIGH_THROUGHPUT = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_2000, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.57"
# Their decoders are the best tested, so they are asked first, and inside this process. gdcm ends
# the process on some damaged files: 3 of 4,500 mutated ones called std::terminate. So it and all
# others have a process of their own.
TRUSTED_DECODERS = ("pillow", "pydicom")
GDCM_PROGRAM = """
import io, json, os, sys
import numpy
from pydicom.pixels import get_decoder
answer = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # whatever a library prints stays out of the answer
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no memory dump with a patient's picture
except ImportError:
    pass  # not on Windows
syntax, options = json.loads(sys.argv[1])
decoded, _ = get_decoder(syntax).as_array(sys.stdin.buffer.read(), **options)
pixels = io.BytesIO()
numpy.save(pixels, decoded, allow_pickle=False)
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
    dataset, syntax = _parse_dicom(data, marked)
    _check_has_pixels(dataset, marked)
    found = read_elements(dataset, notes)
    _check_film(found)
    _fill_bits(found, notes)
    # pydicom raises errors of many kinds, which all mean a damaged or rare file
    try:
        cells = _decode(found, dataset, syntax, notes)
    except RadiographError:
        raise
    except Exception:
        raise RadiographError(
            "the pixels (PixelData) cannot be decoded, so the DICOM file is damaged or of a rare"
            " kind; export the film again, without compression"
        ) from None
    shown = show_pixels(cells, found, dataset, notes)
    spacing_mm = _spacing_of(found, notes)
    stored = Provenance(
        format="DICOM",
        transfer_syntax=_syntax_name(syntax),
        bits_stored=found["BitsStored"],
        mode=found["PhotometricInterpretation"],
        width=found["Columns"],
        height=found["Rows"],
        inverted=shown.inverted,
        windowed=shown.windowed,
        colour=shown.colour,
        coloured=shown.coloured,
        other_modality=OTHER_MODALITIES.get(found["Modality"], ""),
        notes=tuple(notes),
    )
    sides = (found["ImageLaterality"], found["Laterality"])
    laterality = next((side for side in sides if side in ("L", "R")), "")
    return Radiograph(shown.grey, spacing_mm, laterality, stored)


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


def _check_has_pixels(dataset: FileDataset, marked: bool) -> None:
    try:
        if any(stored_values(dataset, keyword) for keyword in PIXEL_KEYWORDS):
            return
    except Exception:  # of many kinds; the table of elements will refuse it by name
        return
    if not marked:
        raise RadiographError(f"not a picture that can be read; {EXPECTED}")
    raise RadiographError(
        "the DICOM file holds no pixels (PixelData): it is cut short, or a report, an index or"
        " another object without a picture; export the film itself"
    )


def _check_film(found: dict[str, Any]) -> None:
    """Refuse what is not one film, of a size and kind that can be decoded, and fill gaps."""
    # a size that can be
    width, height = found["Columns"], found["Rows"]
    if width < 1 or height < 1:
        raise RadiographError(
            f"the DICOM elements Columns and Rows say {width} x {height} pixels; expected at least"
            f" {LEAST_SIDE} x {LEAST_SIDE}"
        )
    check_pixel_count(width, height)
    # one film
    if found["NumberOfFrames"] > 1:
        raise RadiographError(
            f"holds {found['NumberOfFrames']} frames; expected one film (NumberOfFrames 1)"
        )
    # numbers that make sense together
    photometric = found["PhotometricInterpretation"]
    channels = 3 if photometric in COLOUR and photometric != "PALETTE COLOR" else 1
    if found["SamplesPerPixel"] not in (None, channels):
        raise RadiographError(
            f"the DICOM file says {found['SamplesPerPixel']} samples per pixel (SamplesPerPixel),"
            f" which its PhotometricInterpretation {photometric} does not have; export it again"
        )
    found["SamplesPerPixel"] = channels
    if found["RescaleSlope"] == 0:
        raise RadiographError(
            "the DICOM element RescaleSlope is 0, which makes every pixel the same; expected"
            " another number; export the film again"
        )


def _fill_bits(found: dict[str, Any], notes: list[str]) -> None:
    """Fill in what is not said about the bits of a pixel; refuse what cannot be."""
    allocated, high = found["BitsAllocated"], found["HighBit"]
    unsaid = [
        keyword for keyword in ("BitsStored", "PixelRepresentation") if found[keyword] is None
    ]
    if unsaid and found["PixelData"]:
        notes.append(f"{' and '.join(unsaid)}: not in the file, so the usual value is taken")
    stored = found["BitsStored"] or (allocated if high is None else high + 1)
    if stored > allocated:
        raise RadiographError(
            f"the DICOM elements BitsStored and HighBit say {stored} bits, but BitsAllocated only"
            f" {allocated}; export the film again"
        )
    if high is not None and not stored - 1 <= high < allocated:
        notes.append(f"HighBit {high} cannot be with BitsStored {stored} and was left out")
        high = None
    found["BitsStored"], found["HighBit"] = stored, stored - 1 if high is None else high
    found["PixelRepresentation"] = found["PixelRepresentation"] or 0


def _decode(
    found: dict[str, Any], dataset: FileDataset, syntax: str, notes: list[str]
) -> np.ndarray:
    """Decode the pixels with all bits that are stored: (H, W), or (H, W, 3) as RGB."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    # a syntax that is read
    uid = UID(syntax)
    if not uid.is_transfer_syntax or not _has_decoder(get_decoder, _decoder_uid(syntax)):
        raise RadiographError(
            f"the pixels are stored as {_syntax_name(syntax)} (TransferSyntaxUID), which is not"
            " read; convert the file first, for example with gdcmconv --raw"
        )
    # what decoders are told: all bits of a cell count, whatever BitsStored says
    keyword = pixel_keyword(found)
    options = {
        "pixel_keyword": keyword,
        "pixel_vr": dataset[keyword].VR,
        "number_of_frames": 1,
        "rows": found["Rows"],
        "columns": found["Columns"],
        "samples_per_pixel": found["SamplesPerPixel"],
        "planar_configuration": found["PlanarConfiguration"],
        "photometric_interpretation": found["PhotometricInterpretation"],
        "bits_allocated": found["BitsAllocated"],
        "bits_stored": found["BitsAllocated"],
        "pixel_representation": found["PixelRepresentation"],
    }
    if uid.is_compressed and uid != DEFLATED:
        bits = _check_frame(found, syntax)
        if bits:  # what the stream says of itself counts
            options["bits_stored"] = bits
            options["bits_allocated"] = 8 if bits <= 8 else 16 if bits <= 16 else 32
        return _decode_frame(found[keyword], _decoder_uid(syntax, bits), options, notes)
    options["photometric_interpretation"] = _check_length(keyword, found)
    return get_decoder(syntax).as_array(found[keyword], **options)[0]


def _decoder_uid(syntax: str, bits: int = 8) -> str:
    """The transfer syntax under which pydicom finds a decoder."""
    if syntax in HIGH_THROUGHPUT:
        return JPEG_2000
    return JPEG_LOSSLESS if syntax == JPEG_EXTENDED and bits > 8 else syntax


def _check_length(keyword: str, found: dict[str, Any]) -> str:
    """Refuse pixels that are fewer than the picture has, or more.

    Returns
    -------
    str
        The photometric interpretation that goes with this length: YBR_FULL_422 is also said of
        pixels that have all of their colours.
    """
    pixels, photometric = found[keyword], found["PhotometricInterpretation"]
    said = [found[k] for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    expected = -(-math.prod(said) // 8)
    if photometric == "YBR_FULL_422" and len(pixels) >= expected:
        photometric = "YBR_FULL"
    elif photometric == "YBR_FULL_422":
        expected = expected * 2 // 3
    extra = pixels[expected:]
    is_padding = len(extra) < 2 or extra.count(extra[:1]) == len(extra)
    if len(pixels) >= expected and is_padding:
        return photometric
    less, cut = ("less", "it is cut short, or ") if len(pixels) < expected else ("more", "")
    raise RadiographError(
        f"the DICOM file holds {less} than expected: {len(pixels)} bytes of {keyword}, where Rows x"
        f" Columns x SamplesPerPixel x BitsAllocated are {' x '.join(map(str, said))} bits, which"
        f" is {expected} bytes: {cut}one of these elements or TransferSyntaxUID is wrong; export"
        " the film again"
    )


def _decode_frame(buffer: bytes, uid: str, options: dict[str, Any], notes: list[str]) -> np.ndarray:
    """Decode compressed pixels with the first decoder that can: another may be less strict."""
    from pydicom.pixels import get_decoder

    failed: list[str] = []
    plugins = get_decoder(uid).available_plugins
    for plugin in sorted(plugins, key=lambda name: name not in TRUSTED_DECODERS):
        options["decoding_plugin"] = plugin
        try:
            if plugin in TRUSTED_DECODERS:
                pixels = get_decoder(uid).as_array(buffer, **options)[0]
            else:
                pixels = _decode_apart(buffer, uid, options)
        except Exception:  # of many kinds; named below
            failed.append(plugin)
            continue
        if pixels.shape[:2] != (options["rows"], options["columns"]):
            raise RadiographError(
                "the compressed pixels do not fill the picture; export the film again"
            )
        if failed:
            notes.append(f"{' and '.join(failed)} could not decode the pixels, but {plugin} could")
        return pixels
    raise RadiographError(
        f"the compressed pixels cannot be decoded ({', '.join(failed)}); export the film again"
    )


def _decode_apart(buffer: bytes, uid: str, options: dict[str, Any]) -> np.ndarray:
    """Decode the pixels in a process of its own, which takes 0.3 s to start."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", GDCM_PROGRAM]
    done = subprocess.run(
        [*command, json.dumps([uid, options])],
        input=buffer,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=DECODE_SECONDS,
        check=True,
    )
    return np.load(io.BytesIO(done.stdout), allow_pickle=False)


def _check_frame(found: dict[str, Any], syntax: str) -> int:
    """Look at compressed pixels before a decoder sees them.

    Decoders are C++ and trust what they are told, so sizes that do not agree are refused.

    Returns
    -------
    int
        Bits of a sample, as the stream says; 0 for RLE, which does not say.
    """
    from pydicom.uid import JPEGBaseline8Bit, RLELossless

    # one frame that is as large as the header says, and complete
    frame = _first_frame(found["PixelData"])
    width, height = found["Columns"], found["Rows"]
    if syntax == RLELossless:
        _check_rle(frame, width * height)
        return 0
    size, bits = _describe_stream(frame)
    if not bits:
        raise RadiographError(
            f"the pixels are stored as {_syntax_name(syntax)}, but hold no such picture; convert"
            " the file first, for example with gdcmconv --raw, or export it again"
        )
    if size != (width, height):
        raise RadiographError(
            f"the DICOM header says {width} x {height} pixels (Columns x Rows), but the compressed"
            f" data holds {size[0]} x {size[1]} pixels; the file is damaged"
        )
    if b"\xff\xd9" not in frame.rstrip(b"\0")[-16:]:  # after it, some write a few bytes more
        raise RadiographError("the compressed pixels are cut short; export the film again")
    if syntax in (JPEGBaseline8Bit, JPEG_EXTENDED):
        check_jpeg_length(len(frame), width, height)
    return bits


def _has_decoder(get_decoder: Any, uid: str) -> bool:
    try:
        return bool(get_decoder(uid).is_available)
    except NotImplementedError:
        return False


def _first_frame(buffer: bytes) -> bytes:
    from pydicom.encaps import get_frame

    try:
        return get_frame(buffer, 0, number_of_frames=1)
    except Exception:
        # struct.error, ValueError, EOFError …: the fragments do not follow each other
        raise RadiographError(
            "the compressed pixels are damaged or cut short, or TransferSyntaxUID is wrong; export"
            " the film again"
        ) from None


def _describe_stream(frame: bytes) -> tuple[tuple[int, int], int]:
    """Width and height, and bits of a sample, that a JPEG stream of any kind states about itself.

    No bits: it is no such stream.
    """
    # JPEG 2000 in its file format, which the standard forbids and some write
    if frame.startswith(b"\0\0\0\x0cjP"):
        frame = frame[max(frame.find(b"\xff\x4f\xff\x51", 0, 4096), 0) :]
    if frame.startswith(b"\xff\x4f\xff\x51") and len(frame) > 42:  # JPEG 2000: SIZ follows at once
        right, bottom, left, top = struct.unpack(">4L", frame[8:24])
        return (right - left, bottom - top), (frame[42] & 127) + 1
    # JPEG and JPEG-LS: from segment to segment, up to the start of the frame
    place = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xFF:  # fill
            place += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack(">2H", frame[place + 5 : place + 9])
            return (width, height), frame[place + 4]
        else:
            place += 2 + length
    return (0, 0), 0


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


def _spacing_of(found: dict[str, Any], notes: list[str]) -> float | None:
    """Size of a pixel in mm from the first element with a usable one.

    Those that cannot be used, or say something else, are noted.
    """
    usable: dict[str, float] = {}
    for keyword in SPACING_KEYWORDS:
        if not found[keyword]:
            continue
        row, column = found[keyword]
        least, most = SPACING_RANGE_MM
        if not (least <= row <= most and least <= column <= most):
            notes.append(f"{keyword} is not between {least} and {most:g} mm and was left out")
        elif abs(row - column) > MOST_ANISOTROPY * min(row, column):
            size = f"{row:g} x {column:g} mm"
            notes.append(f"{keyword}: pixels are not square ({size}), so no single spacing holds")
            if not usable:
                return None
        else:
            usable[keyword] = (row + column) / 2
    if not usable:
        return None
    used, spacing_mm = next(iter(usable.items()))
    for keyword, other in usable.items():
        if abs(other - spacing_mm) > MOST_ANISOTROPY * spacing_mm:
            notes.append(f"{used} ({spacing_mm:g} mm) is used, although {keyword} is {other:g} mm")
    magnification = found["EstimatedRadiographicMagnificationFactor"]
    if magnification and magnification > 0 and abs(magnification - 1) > MOST_ANISOTROPY:
        notes.append(
            f"{used} ({spacing_mm:g} mm) is used as it is, although"
            f" EstimatedRadiographicMagnificationFactor is {magnification:g}: lengths are those on"
            " the film"
        )
    return spacing_mm
