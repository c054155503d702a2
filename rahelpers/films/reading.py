"""Reading a radiograph from a file or from memory."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from pathlib import Path

import numpy as np

from rahelpers.films._dicom import is_dicom, read_dicom
from rahelpers.films._picture import read_picture
from rahelpers.films.radiograph import (
    LEAST_SIDE,
    MAX_BYTES,
    Radiograph,
    RadiographError,
    quote_name,
)


def read_radiograph(
    source: Path | str | bytes | bytearray | memoryview, name: str = ""
) -> Radiograph:
    """Read PNG, JPEG, TIFF, BMP or DICOM, 8 to 16 bit, grey or colour.

    The content decides, not the file's name. Nothing that identifies a person is read from a DICOM
    file: only pixels, how to show them, spacing, laterality and the kind of device.

    Parameters
    ----------
    source : path or bytes
    name : str
        What to call the file in messages; default: its file name.

    Returns
    -------
    Radiograph
        The darkest pixel is 0, the brightest 1. DICOM: rescaled, windowed as the file says,
        inverted if it is MONOCHROME1, and padding as dark as air (docs/curation.md). `spacing_mm`
        is None, with a note in the provenance, where the file gives none, an impossible one (text,
        NaN, not above zero, absurd), or rows and columns that differ by more than 1 %: one number
        would then be wrong in one direction.

    Raises
    ------
    RadiographError
        If the file is missing, empty, damaged, too large, multi-frame, blank, not an ordinary file
        (a pipe, a device) or not an image at all.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> from rahelpers import read_radiograph
    >>> file = io.BytesIO()
    >>> Image.linear_gradient("L").save(file, "PNG")
    >>> film = read_radiograph(file.getvalue())
    >>> film.image.shape, film.provenance.format, film.provenance.bits_stored
    ((256, 256), 'PNG', 8)
    >>> read_radiograph(b"%PDF-1.7", name="report.pdf")
    Traceback (most recent call last):
    rahelpers.films.radiograph.RadiographError: report.pdf: this is a PDF document; expected ...
    """
    try:
        if isinstance(source, bytes | bytearray | memoryview):
            shown = name or "the upload"
            return _read(bytes(source))
        shown = name or Path(source).name or str(source)
        return _read(_read_file(Path(source)))
    except RadiographError as error:
        raise RadiographError(f"{quote_name(shown)}: {error}") from error.__cause__


def _read(data: bytes) -> Radiograph:
    if not data:
        raise RadiographError("the file is empty")
    if len(data) > MAX_BYTES:
        raise RadiographError(
            f"{len(data) / 1e6:.0f} MB; expected at most {MAX_BYTES / 1e6:.0f} MB"
        )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Pillow and pydicom warn of every odd tag; what matters is checked here
        warnings.simplefilter("ignore")
        film = read_dicom(data) if is_dicom(data) else read_picture(data)
        return Radiograph(_normalise(film.image), film.spacing_mm, film.laterality, film.provenance)


def _normalise(pixels: np.ndarray) -> np.ndarray:
    """Scale grey values to 0 to 1, float32."""
    if min(pixels.shape) < LEAST_SIDE:
        raise RadiographError(
            f"only {pixels.shape[1]} x {pixels.shape[0]} pixels; expected at least {LEAST_SIDE} x"
            f" {LEAST_SIDE}"
        )
    low, high = float(pixels.min()), float(pixels.max())  # NaN if any pixel is
    if not np.isfinite([low, high]).all():
        raise RadiographError(
            "holds grey values that are not finite numbers (NaN or infinite); save it again as 8 or"
            " 16 bit whole numbers"
        )
    if high <= low:
        raise RadiographError("the picture is blank (every pixel has the same value)")
    if not 1e-30 < high - low < 1e30:  # where float32 would overflow
        pixels = pixels.astype(np.float64)
    image = pixels - low
    image /= high - low  # in place, as below: a large film is 256 MB
    return np.clip(image, 0, 1, out=image).astype(np.float32, copy=False)


def _read_file(path: Path) -> bytes:
    """Read an ordinary file. A pipe would block and a device never end, so neither is opened."""
    try:
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            raise RadiographError("this folder may not be read; ask its owner for permission")
        _check_ordinary(path.stat())
        # the file may have been replaced by a pipe since: open without waiting, and look again
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        handle = os.open(path, flags)
        with os.fdopen(handle, "rb") as file:
            _check_ordinary(os.fstat(handle))
            return file.read(MAX_BYTES + 1)
    except RadiographError:
        raise
    except (OSError, ValueError) as error:
        raise RadiographError(_explain_os_error(path, error)) from None


def _check_ordinary(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise RadiographError("this is a folder; expected the file of one film")
    if not stat.S_ISREG(found.st_mode):
        raise RadiographError("this is a pipe, a socket or a device; expected an ordinary file")
    if found.st_size > MAX_BYTES:
        raise RadiographError(
            f"{found.st_size / 1e6:.0f} MB; expected at most {MAX_BYTES / 1e6:.0f} MB"
        )


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
