"""The elements that are read of a DICOM file, and the rule for each, in one table.

The standard allows most elements to be absent, nearly all of those to be empty, and other software
writes values that are legal and rare. So nothing is used that has not been through this table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rahelpers.films.radiograph import RadiographError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# at the detector; at the patient, or as the writer likes; of a film scanner
SPACING_KEYWORDS = ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing")
# each kind of pixels, and what the names of its padding start with
PIXEL_KEYWORDS = {"PixelData": "", "FloatPixelData": "Float", "DoubleFloatPixelData": "DoubleFloat"}
MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
MISSING = object()  # in place of a default: without this element there is no picture


class Table(NamedTuple):
    """A look-up table: entry i stands for the value `first` + i."""

    first: int
    entries: np.ndarray


@dataclass(frozen=True)
class Rule:
    """What an element may hold.

    Attributes
    ----------
    convert : function
        From one value as stored to the value that is used; ValueError or the like if it is wrong.
    expected : str
        What the element should hold, in words.
    default : object
        What it means if the element is absent or empty; MISSING: the file is refused.
    count : int or None
        How many values; None: any number, one for each way to show the film; the first is used.
    left_out : bool
        A wrong value is left out, with a note, because the picture can be shown without it;
        otherwise the file is refused.
    """

    convert: Callable[[Any], Any]
    expected: str
    default: Any = None
    count: int | None = 1
    left_out: bool = False


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _code(value: Any) -> str:
    return str(value).strip().upper()


def _binary(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _whole(low: int, high: int, default: Any = None, **options: Any) -> Rule:
    def convert(value: Any) -> int:
        number = float(value)
        if not low <= number <= high or number != int(number):
            raise ValueError
        return int(number)

    return Rule(convert, f"one whole number from {low} to {high}", default, **options)


def _number(default: float | None = None, *, what: str = "one number", **options: Any) -> Rule:
    return Rule(_finite, what, default, **options)


def _one_of(*choices: Any, default: Any = None, **options: Any) -> Rule:
    kind = _code if isinstance(choices[0], str) else float

    def convert(value: Any) -> Any:
        return choices[choices.index(kind(value))]

    *others, last = (str(choice) for choice in choices)
    return Rule(convert, f"{', '.join(others)} or {last}", default, **options)


def _table(item: Dataset) -> Table:
    """Read an item of a LUT sequence (PS3.3, C.11.1.1).

    The third number of its descriptor, the bits of an entry, is often wrong and not needed: there
    are either as many bytes as entries, or twice as many.
    """
    count, first, *_ = (int(number) for number in item.LUTDescriptor)
    count = count % 65536 or 65536
    data = item.LUTData
    if isinstance(data, bytes):
        little = item.original_encoding[1] is not False
        words = np.frombuffer(data + b"\0" * (len(data) % 2), "<u2" if little else ">u2")
    else:
        words = np.atleast_1d(np.asarray(data, dtype=np.int64)).astype(np.uint16)
    if len(words) >= count:
        return Table(first, words[:count])
    entries = words.astype("<u2").view(np.uint8)
    if len(entries) < count:
        raise ValueError
    return Table(first, entries[:count])


WINDOW: dict[str, Any] = {"what": "one or more numbers", "count": None, "left_out": True}
LUT: dict[str, Any] = {
    "expected": "a table with a descriptor of three numbers and as many entries as it says"
}
ELEMENTS = {
    # how the pixels are stored (PS3.3, C.7.6.3)
    "Rows": _whole(0, 65535, MISSING),
    "Columns": _whole(0, 65535, MISSING),
    "PhotometricInterpretation": _one_of(*MONOCHROME, *COLOUR, default=MISSING),
    "SamplesPerPixel": _whole(1, 65535),
    "PlanarConfiguration": _one_of(0, 1, default=0),
    "NumberOfFrames": _whole(0, 2**31 - 1, 1),
    "BitsAllocated": _one_of(1, 8, 16, 32, 64, default=MISSING),
    "BitsStored": _whole(1, 64),
    "HighBit": _whole(0, 63, left_out=True),
    "PixelRepresentation": _one_of(0, 1),
    **{keyword: Rule(_binary, "binary data") for keyword in PIXEL_KEYWORDS},
    # pixels outside the picture (C.7.5.1.1.2)
    **{
        f"{kind}PixelPadding{part}": _number(left_out=True)
        for kind in PIXEL_KEYWORDS.values()
        for part in ("Value", "RangeLimit")
    },
    # from stored values to what was measured, and to what is shown (C.11)
    "RescaleSlope": _number(1.0),
    "RescaleIntercept": _number(0.0),
    "ModalityLUTSequence": Rule(_table, **LUT),
    "VOILUTSequence": Rule(_table, **LUT, count=None, left_out=True),
    "WindowCenter": _number(**WINDOW),
    "WindowWidth": _number(**WINDOW),
    "VOILUTFunction": _one_of("LINEAR", "LINEAR_EXACT", "SIGMOID", default="LINEAR", left_out=True),
    "PresentationLUTShape": _one_of("IDENTITY", "INVERSE", "LIN OD", default="", left_out=True),
    # how large a pixel is (10.7)
    **{
        keyword: _number(what="two numbers", count=2, left_out=True) for keyword in SPACING_KEYWORDS
    },
    "EstimatedRadiographicMagnificationFactor": _number(left_out=True),
    # what it is a picture of; any word is allowed
    "ImageLaterality": Rule(_code, "one code", "", left_out=True),
    "Laterality": Rule(_code, "one code", "", left_out=True),
    "Modality": Rule(_code, "one code", "", left_out=True),
}
PALETTE_KEYWORDS = tuple(
    f"{segmented}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for segmented, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
# All that is ever read of a DICOM file: names, numbers, dates and identifiers of persons and
# institutions are not.
DICOM_TAGS = [*ELEMENTS, *PALETTE_KEYWORDS]


def read_elements(dataset: Dataset, notes: list[str]) -> dict[str, Any]:
    """Read every element of the table.

    Parameters
    ----------
    dataset : Dataset
    notes : list of str
        What was left out is added.

    Returns
    -------
    dict
        By keyword: the value; a list of two for a spacing; the default where it is absent or empty.

    Raises
    ------
    RadiographError
        Names the element that is missing or wrong. Its value is not quoted: it could be anything.
    """
    found = {}
    for keyword, rule in ELEMENTS.items():
        found[keyword] = rule.default
        try:
            stored = stored_values(dataset, keyword)
            if not stored:
                if rule.default is MISSING:
                    raise RadiographError(
                        f"the DICOM element {keyword} is missing; expected {rule.expected}; export"
                        " the film again"
                    )
                continue
            if rule.count is not None and len(stored) != rule.count:
                raise ValueError
            values = [rule.convert(value) for value in stored[: rule.count or 1]]
        except RadiographError:
            raise
        except Exception:  # of many kinds: see stored_values
            if rule.left_out:
                notes.append(f"{keyword} is not {rule.expected} and was left out")
                continue
            raise RadiographError(
                f"the value of the DICOM element {keyword} is not one that is read; expected"
                f" {rule.expected}; export the film again"
            ) from None
        found[keyword] = values if len(values) > 1 else values[0]
    return found


def stored_values(dataset: Dataset, keyword: str) -> list[Any]:
    """The values of an element as pydicom reads them; none where it is absent or empty.

    pydicom converts a value when asked, and raises errors of many kinds if it cannot.
    """
    value = dataset.get(keyword)
    values = list(value) if isinstance(value, MutableSequence) else [value]
    return [] if all(_is_empty(v) for v in values) else values


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        value = value.strip()
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def pixel_keyword(found: dict[str, Any]) -> str:
    """Which of the PIXEL_KEYWORDS holds the pixels."""
    return next(keyword for keyword in PIXEL_KEYWORDS if found[keyword])
