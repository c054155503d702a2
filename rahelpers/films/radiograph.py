"""One radiograph, what its file was, and the error for a file that is not one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_PIXELS = 64_000_000  # a 35 x 43 cm detector at 0.1 mm has 15 million
# of a file, and of what a deflated DICOM file unpacks to: MAX_PIXELS at 16 bit, twice
MAX_BYTES = 256_000_000
LEAST_SIDE = 32  # pixels
MOST_NAME = 120  # characters of a file's name in a message


class RadiographError(ValueError):
    """A file that is not a usable radiograph; the message is for the person who chose it."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a film was before it was read.

    It holds nothing that identifies a person, and no text from the file.

    Attributes
    ----------
    format : str
        'PNG', 'JPEG', 'TIFF', 'BMP' or 'DICOM'; '' where the film was not read from a file.
    transfer_syntax : str
        DICOM's name of how the pixels are stored, such as 'JPEG Baseline (Process 1)'; '' for other
        formats.
    bits_stored : int
        Bits of one sample that carry grey values.
    mode : str
        Pillow's mode ('L', 'I;16', 'RGB', 'P' …), or DICOM's photometric interpretation.
    width, height : int
        Pixels as stored: before an EXIF orientation is applied.
    inverted : bool
        The header says that bone is stored dark (DICOM MONOCHROME1, TIFF WhiteIsZero); the film was
        inverted, so that bone is bright.
    windowed : bool
        A VOI LUT or window of the DICOM file was applied.
    orientation : int
        EXIF orientation that was applied, 1 to 8; 1 is upright.
    colour : str
        '' stored as grey; 'grey' stored as colour, but all channels are equal; 'converted' real
        colours, reduced to their luma.
    coloured : float
        Share of the pixels, 0 to 1, with a colour of their own: neither grey nor the tint that a
        whole film may have.
    alpha : bool
        The picture had transparency, which was laid over black.
    other_modality : str
        What made the picture, where a DICOM file says that it is not a plain radiograph ('magnetic
        resonance'); otherwise ''.
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
        Size of a pixel in mm; None where unknown, or where pixels are not square.
    laterality : str
        'L', 'R' or '' where unknown.
    provenance : Provenance
        What the file was; empty where the film does not come from a file.

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers import Radiograph
    >>> film = Radiograph(np.zeros((64, 48), np.float32), spacing_mm=0.2, laterality="L")
    >>> film.image.shape, film.provenance.format
    ((64, 48), '')
    """

    image: np.ndarray
    spacing_mm: float | None = None
    laterality: str = ""
    provenance: Provenance = Provenance()


def quote_name(name: str) -> str:
    """Prepare a file's name for a message.

    It is quoted where it holds a line break or other invisible characters, and cut where it is very
    long.
    """
    if len(name) > MOST_NAME:
        name = f"{name[: MOST_NAME - 20]}…{name[-19:]}"  # the end has the suffix
    return name if name.isprintable() and name == name.strip() else repr(name)


def check_pixel_count(width: int, height: int) -> None:
    """Refuse a film that has more than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise RadiographError(f"{width} x {height} pixels; expected at most {MAX_PIXELS:,} in all")


def one_line(error: Exception) -> str:
    """A library's error for a message: its kind and its words, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
