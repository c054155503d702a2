"""PNG, JPEG, TIFF and BMP."""

from __future__ import annotations

import io
import logging
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from rahelpers.core.native_stderr import silence_native_stderr
from rahelpers.films.radiograph import (
    MAX_PIXELS,
    Provenance,
    Radiograph,
    RadiographError,
    check_pixel_count,
    one_line,
)

if TYPE_CHECKING:
    from PIL import Image

# between the channels of one pixel: JPEG's rounding gives at most 3 of 255, a coloured arrow
# hundreds
COLOUR_SPREAD = 12 / 255
# of the grey range: a pixel that is farther from the film's tint has a colour of its own
TINT_SPREAD = 0.1
TINT_SIDE = 256  # pixels: colours are counted on a picture thinned out to this size
MOST_PAGES = 16  # of a TIFF file, when looking for a second film among its thumbnails
PICTURE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
COLOUR_MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
EXPECTED = "expected PNG, JPEG, TIFF, BMP or DICOM"
# What a file starts with, so that the message can say what it is.
OWN_SIGNATURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
}
OTHER_SIGNATURES = {
    b"%PDF": "a PDF document",
    b"GIF8": "a GIF picture",
    b"RIFF": "a WebP picture or a sound",
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"\x1f\x8b": "a gzip archive",
    b"\0\0\0\x0cjP": "a JPEG 2000 picture",
    b"<": "a web page, an SVG drawing or other XML",
}

# without a handler, Python prints Pillow's log of a bad TIFF to stderr
logging.getLogger("PIL").addHandler(logging.NullHandler())


def check_jpeg_length(length: int, width: int, height: int) -> None:
    """Refuse a JPEG that cannot hold its picture.

    Each block of 8 x 8 pixels takes at least one bit, and decoders fill what is missing with grey.
    """
    if 8 * length < (width // 8) * (height // 8):
        raise RadiographError(
            f"the file is cut short: {length} bytes cannot hold {width} x {height} pixels; export"
            " it again"
        )


def read_picture(data: bytes) -> Radiograph:
    """Read a PNG, JPEG, TIFF or BMP; grey values as stored."""
    from PIL import Image, UnidentifiedImageError

    try:
        if data.startswith(b"\x89PNG"):
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                # the checksums: Pillow does not look at them when it loads pixels, nor for the end
                picture.verify()
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as picture:
            return _read_opened(picture, data)
    except RadiographError:
        raise
    except UnidentifiedImageError:
        raise RadiographError(_explain_unknown(data)) from None
    except Image.DecompressionBombError:
        raise RadiographError(
            f"the picture claims too many pixels; expected at most {MAX_PIXELS:,}"
        ) from None
    except Exception as error:
        # Pillow's decoders raise errors of many kinds; all mean a damaged file
        raise RadiographError(f"the file is damaged ({one_line(error)})") from error


def _explain_unknown(data: bytes) -> str:
    for signature, kind in OWN_SIGNATURES.items():
        if data.startswith(signature):
            return (
                f"starts as {kind}, but is damaged, cut short or of a rare kind; export it again,"
                " as 8 or 16 bit grey"
            )
    for signature, kind in OTHER_SIGNATURES.items():
        if data.startswith(signature):
            return f"this is {kind}; {EXPECTED}"
    return f"not a picture that can be read; {EXPECTED}"


def _read_opened(picture: Image.Image, data: bytes) -> Radiograph:
    # refuse what is too large, several pictures, or cut short, before any pixel is decoded
    width, height = picture.size
    check_pixel_count(width, height)
    _check_single(picture)
    if picture.format in ("JPEG", "MPO"):
        check_jpeg_length(len(data), width, height)
    # what the header says
    is_tiff = picture.format == "TIFF"
    orientation, notes = _orientation_of(picture)
    if is_tiff and orientation >= 5:
        width, height = height, width  # Pillow reports, and loads, a TIFF upright
    mode, bits = picture.mode, _bits_of(picture, data)
    white_is_zero = is_tiff and _tiff_tag(picture, 262, 1) == 0
    # the pixels; libtiff prints each complaint, and what matters of it comes back as an error
    if is_tiff and picture.info.get("compression") != "raw":
        with silence_native_stderr():
            picture.load()
    grey, colour, coloured, alpha = _grey_of(picture, data)
    if white_is_zero and mode not in ("1", "L", "P"):  # those Pillow inverts itself
        grey = grey.max() - grey
    if not is_tiff:
        grey = _turn_upright(grey, orientation)
    stored = Provenance(
        format="JPEG" if picture.format == "MPO" else str(picture.format),
        bits_stored=bits,
        mode=mode,
        width=width,
        height=height,
        inverted=white_is_zero,
        orientation=orientation,
        colour=colour,
        coloured=coloured,
        alpha=alpha,
        notes=notes,
    )
    return Radiograph(grey, provenance=stored)


def _tiff_tag(picture: Image.Image, tag: int, default: Any) -> Any:
    """A tag of a TIFF file's current page."""
    return picture.tag_v2.get(tag, default)  # type: ignore[attr-defined]


def _check_single(picture: Image.Image) -> None:
    """Refuse more than one film per file.

    A TIFF may carry small copies of its picture, and an MPO is a telephone's JPEG with a preview
    after it.
    """
    if picture.format != "TIFF":
        frames = getattr(picture, "n_frames", 1)
        if picture.format != "MPO" and frames > 1:
            raise RadiographError(f"holds {frames} pictures; expected one film")
        return
    try:
        for page in range(1, MOST_PAGES + 1):
            picture.seek(page)
            if not _tiff_tag(picture, 254, 0) & 1:  # NewSubfileType: a reduced copy
                raise RadiographError("holds more than one picture; expected one film")
        raise RadiographError(f"holds more than {MOST_PAGES} pictures; expected one film")
    except EOFError:
        picture.seek(0)  # there are no more pages


def _orientation_of(picture: Image.Image) -> tuple[int, tuple[str, ...]]:
    """EXIF orientation, 1 to 8, and a note where the EXIF block cannot be read.

    Viewers show such a film, so it is read.
    """
    try:
        value = picture.getexif().get(274, 1)
    except (SyntaxError, struct.error, ValueError, TypeError, LookupError, OSError, OverflowError):
        return 1, ("the EXIF block is damaged; the film is taken as upright",)
    if isinstance(value, int) and 1 <= value <= 8:
        return value, ()
    return 1, ("the EXIF orientation is not one of 1 to 8; the film is taken as upright",)


def _turn_upright(grey: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: a transposition, then flips."""
    if orientation >= 5:
        grey = grey.T
    flip_rows, flip_columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(grey[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _bits_of(picture: Image.Image, data: bytes) -> int:
    """Bits of one sample as stored; for a palette, those of its colours."""
    if picture.mode == "P":
        return 8
    if picture.format == "PNG":
        return data[24]
    if picture.format == "TIFF":
        return int(max(_tiff_tag(picture, 258, (1,))))
    return 1 if picture.mode == "1" else 8


def _grey_of(picture: Image.Image, data: bytes) -> tuple[np.ndarray, str, float, bool]:
    """Read the pixels as grey.

    Returns
    -------
    grey : float32 array (H, W)
    colour, coloured, alpha
        As in `Provenance`.
    """
    # stored as grey
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return np.asarray(picture, dtype=np.float32), "", 0.0, False
    transparent = "transparency" in picture.info or picture.mode in ("LA", "PA", "RGBA", "RGBa")
    if picture.mode in ("1", "L") and not transparent:
        return np.asarray(picture.convert("L"), dtype=np.float32), "", 0.0, False
    # stored as colour, with a palette or with transparency
    if picture.mode not in COLOUR_MODES:
        raise RadiographError(
            f"stored in the colour space {picture.mode}, which is not read; save it as grey"
        )
    if picture.format == "PNG" and data[24] == 16:
        samples, full = _decode_deep_png(data), 65535
    else:
        samples, full = np.asarray(picture.convert("RGBA" if transparent else "RGB")), 255
    grey, colour, coloured = reduce_colour(samples, full)
    if samples.shape[2] == 4:
        grey = grey * (samples[..., 3] / np.float32(full))
    colour = "" if picture.mode in ("1", "L", "LA") else colour
    return grey, colour, coloured, samples.shape[2] == 4


def _decode_deep_png(data: bytes) -> np.ndarray:
    """Decode a PNG of 16 bits per channel as RGB or RGBA, uint16.

    Pillow would drop the lower half of every sample. It has read the file before, so its chunks are
    intact. Only those with pixels are passed on: libpng writes its complaints about others to
    stderr.
    """
    import cv2

    kept, place = [data[:8]], 8
    while place + 8 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] in (b"IHDR", b"PLTE", b"IDAT", b"tRNS"):
            kept.append(data[place:end])
        place = end
    kept.append(b"\0\0\0\0IEND\xaeB`\x82")
    with silence_native_stderr():
        samples = cv2.imdecode(np.frombuffer(b"".join(kept), np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.ndim != 3:
        raise RadiographError("the file is damaged (its 16-bit colours cannot be decoded)")
    return np.concatenate([samples[..., 2::-1], samples[..., 3:]], axis=2)  # from BGR(A)


def reduce_colour(samples: np.ndarray, full: float) -> tuple[np.ndarray, str, float]:
    """Reduce RGB samples (H, W, 3 or more), at most `full`, to their luma (ITU-R BT.601).

    Returns
    -------
    grey : float32 array (H, W)
    colour : {'grey', 'converted'}
        'grey' where the channels agree.
    coloured : float
        Share of coloured pixels.
    """
    red, green, blue = (samples[..., i] for i in range(3))
    top, bottom = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    spread = float((top - bottom).max(initial=0)) / full
    if spread == 0:
        return red.astype(np.float32), "grey", 0.0
    grey = red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)
    if spread <= COLOUR_SPREAD:
        return grey, "grey", 0.0
    return grey, "converted", _share_coloured(samples[..., :3], full)


def _share_coloured(samples: np.ndarray, full: float) -> float:
    """Share of the pixels of RGB samples (H, W, 3) that have a colour of their own.

    They are farther than TINT_SPREAD from the film's tint, a parabola over the grey value.
    """
    step = max(1, -(-max(samples.shape) // TINT_SIDE))
    red, green, blue = (samples[::step, ::step, i].ravel() / full for i in range(3))
    chroma = np.stack([red - green, green - blue], axis=1)
    grey = np.vander((red + green + blue) / 3, 3)
    tint = grey @ np.linalg.lstsq(grey, chroma, rcond=None)[0]
    return float((np.abs(chroma - tint).max(axis=1) > TINT_SPREAD).mean())
