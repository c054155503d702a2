"""One radiograph: reading it from a file."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_PIXELS = 64_000_000  # a 35 x 43 cm detector at 0.1 mm has 15 million


class RadiographError(ValueError):
    """A file that is not a usable radiograph; the message is for the person who chose it."""


@dataclass(frozen=True)
class Radiograph:
    """One radiograph.

    Attributes
    ----------
    image : float32 array (H, W)
        Grey values in [0, 1], bone bright.
    spacing_mm : float or None
        Size of a pixel in mm; None where not known.
    laterality : str
        'L', 'R' or '' where not known.
    """

    image: np.ndarray
    spacing_mm: float | None = None
    laterality: str = ""


def read_radiograph(source: Path | str | bytes, name: str = "") -> Radiograph:
    """Read PNG, JPEG, TIFF, BMP or DICOM, 8 or 16 bit, grey or colour-stored grey.

    Nothing that identifies a person is kept from a DICOM file: only pixels, spacing and laterality.

    Parameters
    ----------
    source : path or bytes
    name : str
        What to call the file in messages; default: its file name.

    Raises
    ------
    RadiographError
        If the file is missing, empty, damaged, too large, multi-frame, blank or no image at all.
    """
    if isinstance(source, bytes):
        data, name = source, name or "the upload"
    else:
        path = Path(source)
        name = name or path.name
        if not path.is_file():
            raise RadiographError(f"{name}: there is no such file")
        data = path.read_bytes()
    if not data:
        raise RadiographError(f"{name}: the file is empty")
    is_dicom = data[128:132] == b"DICM"
    pixels, spacing, laterality = _read_dicom(data, name) if is_dicom else (_read_picture(data, name), None, "")
    low, high = float(pixels.min()), float(pixels.max())
    if min(pixels.shape) < 32:
        raise RadiographError(f"{name}: only {pixels.shape[1]} x {pixels.shape[0]} pixels; expected at least 32 x 32")
    if not np.isfinite([low, high]).all() or high <= low:
        raise RadiographError(f"{name}: the picture is blank (every pixel has the same value)")
    return Radiograph(((pixels - low) / (high - low)).astype(np.float32), spacing, laterality)


def _read_picture(data: bytes, name: str) -> np.ndarray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise RadiographError(f"{name}: {picture.width} x {picture.height} pixels; expected at most {MAX_PIXELS:,} in all")
                if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
                    raise RadiographError(f"{name}: holds {picture.n_frames} pictures; expected one film")
                picture = ImageOps.exif_transpose(picture)
                if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
                    return np.asarray(picture, dtype=np.float32)
                return np.asarray(picture.convert("L"), dtype=np.float32)
    except RadiographError:
        raise
    except UnidentifiedImageError:
        raise RadiographError(f"{name}: not a picture that can be read; expected PNG, JPEG, TIFF, BMP or DICOM") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise RadiographError(f"{name}: the picture claims too many pixels; expected at most {MAX_PIXELS:,}") from None
    except Exception as error:  # Pillow's decoders raise many kinds; all mean a damaged file, and it is said
        raise RadiographError(f"{name}: the file is damaged ({type(error).__name__}: {error})") from error


def _read_dicom(data: bytes, name: str) -> tuple[np.ndarray, float | None, str]:
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of every odd tag; only the pixels and three tags are used
            dataset = pydicom.dcmread(io.BytesIO(data))
            if int(dataset.get("NumberOfFrames") or 1) > 1:
                raise RadiographError(f"{name}: holds {dataset.NumberOfFrames} frames; expected one film")
            if int(dataset.get("Rows", 0)) * int(dataset.get("Columns", 0)) > MAX_PIXELS:
                raise RadiographError(f"{name}: {dataset.Columns} x {dataset.Rows} pixels; expected at most {MAX_PIXELS:,} in all")
            pixels = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float32)
    except RadiographError:
        raise
    except Exception as error:  # pydicom's decoders raise many kinds; all mean a damaged file, and it is said
        raise RadiographError(f"{name}: the DICOM file cannot be read ({type(error).__name__}: {error})") from error
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=2)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    spacing = dataset.get("ImagerPixelSpacing") or dataset.get("PixelSpacing")
    spacing_mm = float(spacing[0]) if spacing and np.isfinite(float(spacing[0])) and float(spacing[0]) > 0 else None
    side = str(dataset.get("ImageLaterality") or dataset.get("Laterality") or "").upper()
    return pixels, spacing_mm, side if side in ("L", "R") else ""
