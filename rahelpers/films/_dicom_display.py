"""How a DICOM film is shown: from the cells that were decoded to grey values (PS3.3, C.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rahelpers.films._dicom_elements import COLOUR, PIXEL_KEYWORDS, Table, pixel_keyword
from rahelpers.films._picture import reduce_colour
from rahelpers.films.radiograph import RadiographError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LEAST_LEVELS = 8  # of 256: a window that shows fewer was not meant for this film


class Shown(NamedTuple):
    """Grey values, float array (H, W), bone as the file says; the rest as in `Provenance`."""

    grey: np.ndarray
    inverted: bool = False
    windowed: bool = False
    colour: str = ""
    coloured: float = 0.0


def show_pixels(
    cells: np.ndarray, found: dict[str, Any], dataset: Dataset, notes: list[str]
) -> Shown:
    """Show decoded pixels: (H, W), or (H, W, 3) as RGB, with all bits that are stored.

    `found` comes from `read_elements`; the dataset is only asked for its palette.
    """
    samples = _cut_samples(cells, found, notes)
    if found["PhotometricInterpretation"] in COLOUR:
        grey, colour, coloured = _show_colour(samples, found, dataset)
        return Shown(grey, colour=colour, coloured=coloured)
    padding = _find_padding(cells, samples, found, notes)
    grey, windowed = _show_grey(samples, padding, found, notes)
    inverted = _is_inverted(found, notes)
    if inverted:  # after the window, which is stated for the values as stored
        grey = -grey
    if padding is not None:  # as dark as air
        grey[padding] = grey[~padding].min()
    return Shown(grey, inverted, windowed)


def _cut_samples(cells: np.ndarray, found: dict[str, Any], notes: list[str]) -> np.ndarray:
    """Cut the samples out of their cells, where other bits may hold anything (PS3.5, 8.1.1).

    They end at HighBit; overlays stood above or below. Where a file says something else of its bits
    than it does, they are taken as they are, and that is noted.
    """
    width = 8 * cells.itemsize
    high = min(found["HighBit"], width - 1)
    stored = min(found["BitsStored"], high + 1)
    if cells.dtype.kind == "f" or stored == width:
        return cells
    below = high + 1 - stored
    down = (cells << (width - 1 - high)) >> (width - 1 - high)  # without what stands above
    samples = down >> below
    if np.array_equal(samples, cells):
        return cells
    said = f"BitsStored {stored} and HighBit {high}"
    unused = (1 << below) - 1
    used = int(np.bitwise_or.reduce(cells & unused, axis=None))
    if used and not (cells >> stored).any():
        notes.append(f"the pixels are not stored as {said} say, but from the lowest bit")
        return cells
    if used and used == unused:
        notes.append(f"the pixels have more bits than {said} say; all are used")
        return down / float(1 << below)
    if not below and _roughness(cells) < _roughness(samples):
        notes.append(f"the pixels have more bits than {said} say; all are used")
        return cells
    if not below and found["PixelRepresentation"] == 0:
        notes.append(f"bits beyond {said}, perhaps of an overlay or padding, were left out")
    return samples


def _roughness(cells: np.ndarray) -> float:
    """Sum of the steps from pixel to pixel, on some of the rows."""
    rows = cells[:: max(1, len(cells) // 200)].astype(np.float64)
    return float(np.abs(np.diff(rows, axis=1)).sum())


def _find_padding(
    cells: np.ndarray, samples: np.ndarray, found: dict[str, Any], notes: list[str]
) -> np.ndarray | None:
    """Find the pixels that the file says are not of the picture (PS3.3, C.7.5.1.1.2).

    Returns
    -------
    bool array (H, W), or None where there are none
    """
    prefix = PIXEL_KEYWORDS[pixel_keyword(found)]
    value, limit = (found[f"{prefix}PixelPadding{part}"] for part in ("Value", "RangeLimit"))
    if value is None:
        return None
    low, high = sorted((value, value if limit is None else limit))
    if cells.dtype.kind in "iu":
        # a signed value may have been written as unsigned, and the other way round; and the value
        # may use bits that samples do not have
        least, most = (np.iinfo(cells.dtype).min, np.iinfo(cells.dtype).max)
        low, high = sorted(v - (most - least + 1) * ((v > most) - (v < least)) for v in (low, high))
        signed, bits = least < 0, found["BitsStored"]
        if not -(2 ** (bits - 1)) * signed <= low <= high < 2 ** (bits - signed):
            samples = cells
    padding = (samples >= low) & (samples <= high)
    if padding.all():
        notes.append(f"{prefix}PixelPaddingValue covers the whole picture and was left out")
    return padding if padding.any() and not padding.all() else None


def _is_inverted(found: dict[str, Any], notes: list[str]) -> bool:
    """Whether dark and bright change places: either of two elements may say so."""
    photometric, shape = found["PhotometricInterpretation"], found["PresentationLUTShape"]
    if (photometric, shape) in (("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")):
        notes.append(
            f"{photometric} and PresentationLUTShape {shape} contradict each other; taken as"
            " inverted"
        )
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _show_colour(
    samples: np.ndarray, found: dict[str, Any], dataset: Dataset
) -> tuple[np.ndarray, str, float]:
    """Reduce colours to grey; what is returned is described at `reduce_colour`."""
    from pydicom.pixels import apply_color_lut

    if found["PhotometricInterpretation"] == "PALETTE COLOR":
        try:
            samples = apply_color_lut(samples, dataset)
            samples[..., 2]  # a colour without a table is left out
        except Exception:  # of many kinds
            raise RadiographError(
                "the palette (RedPaletteColorLookupTableDescriptor and ...Data, and those of Green"
                " and Blue) is missing or makes no sense; export the film as grey (MONOCHROME2)"
            ) from None
    return reduce_colour(samples, np.iinfo(samples.dtype).max)


def _show_grey(
    samples: np.ndarray, padding: np.ndarray | None, found: dict[str, Any], notes: list[str]
) -> tuple[np.ndarray, bool]:
    """Show grey pixels as the file says, before polarity (PS3.3, C.11).

    Where its VOI LUT or window makes no sense or shows nothing, that is noted.

    Returns
    -------
    grey : float array (H, W)
    windowed : bool
    """
    slope, intercept = found["RescaleSlope"], found["RescaleIntercept"]
    if found["ModalityLUTSequence"]:
        samples, slope, intercept = _look_up(samples, found["ModalityLUTSequence"]), 1.0, 0.0
        if samples.min() == samples.max():
            raise RadiographError(
                "the table of the DICOM element ModalityLUTSequence makes every pixel the same;"
                " export the film again"
            )
    shown = None
    if found["VOILUTSequence"]:
        shown = _look_up(samples * slope + intercept, found["VOILUTSequence"])
    elif found["WindowCenter"] is not None or found["WindowWidth"] is not None:
        shown = _apply_window(samples, slope, intercept, found)
        if shown is None:
            notes.append("the window (WindowCenter, WindowWidth) cannot be used and was left out")
    if shown is not None:
        kept = shown if padding is None else shown[~padding]
        if _count_levels(kept) >= LEAST_LEVELS:
            return shown, True
        notes.append("the window or VOI LUT shows a blank picture, or nearly so, and was left out")
    # what follows only looks at differences, so no more than the sign of the slope matters
    grey = samples.astype(np.result_type(samples, np.float32))
    return (grey if slope > 0 else -grey), False


def _count_levels(shown: np.ndarray) -> int:
    """Count the grey levels of 256 that are used; none if values are not finite or all the same."""
    low, high = float(shown.min()), float(shown.max())
    if not np.isfinite([low, high]).all() or high <= low:
        return 0
    levels = np.rint((shown.ravel() - low) * (255 / (high - low))).astype(np.uint8)
    return int(np.count_nonzero(np.bincount(levels)))


def _look_up(values: np.ndarray, table: Table) -> np.ndarray:
    first = table.first
    # a signed first value is often written as unsigned
    if first >= 2**15 and first > values.max():
        first -= 2**16
    last = first + len(table.entries) - 1
    places = np.clip(values, first, last).astype(np.int64) - first
    return table.entries[places].astype(np.float32)


def _apply_window(
    samples: np.ndarray, slope: float, intercept: float, found: dict[str, Any]
) -> np.ndarray | None:
    """Apply the window to rescaled samples (PS3.3, C.11.2.1.2 and C.11.2.1.3): from 0 to 1.

    None where it is none. pydicom's own turns the picture round where the slope is negative.
    """
    center, width = found["WindowCenter"], found["WindowWidth"]
    function = found["VOILUTFunction"]
    if center is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (samples * slope + intercept > center).astype(np.float32)
    shown = samples * (slope / width)
    shown += (intercept - center) / width
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * shown))
    return np.clip(shown + 0.5, 0, 1, out=shown)
