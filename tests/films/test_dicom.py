"""DICOM as other software writes it: each element that is read, with every value it may have."""

import base64
import io
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset

from rahelpers.films._dicom_elements import ELEMENTS, PALETTE_KEYWORDS
from rahelpers.films.radiograph import RadiographError
from rahelpers.films.reading import read_radiograph
from tests.films.files import (
    COMPRESSED,
    GREY,
    LONG,
    RAMP,
    compress,
    dicom,
    encapsulated,
    encode,
    put,
    stretch,
    without,
)

PIXELS = (RAMP * 16).astype(np.uint16)  # 12 bits
SIGNED = (PIXELS.astype(np.int32) - 2048).astype(np.int16)
GOOD = stretch(PIXELS)
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
PYTHON_WORDS = re.compile(
    r"Error|Exception|NoneType|Traceback|argument|unpack|out of range|could not"
)
ITEM = b"\xfe\xff\0\xe0\0\0\0\0"
HTJ2K = base64.b64decode(  # rows of 0, 8 … 248, 32 x 32, by OpenJPH
    "/0//UQApQAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUEBEAB/1wA"
    "EyBIUFBQUFBQUFBQUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFcAAf+TwCXtAId0AMASgCIBh3QA"
    "wBMAEMgBAnQAwBUACIIgqnCCdQDAFaBCCCGEEOfKenpwAngAwC0wtm3btm3b+f8Ap6enp6enp0J9AP/Z"
)
JPEG_2000 = "1.2.840.10008.1.2.4.90"
# what stands in an element for which something else was meant: kind of value, and its bytes
ODD_VALUES = {
    "empty": ("CS", b""),
    "blank": ("CS", b"  "),
    "empty values": ("CS", b"\\\\"),
    "empty of another kind": ("US", b""),
    "empty sequence": ("SQ", b""),
    "empty item": ("SQ", ITEM),
    "a word": ("CS", b"MANY"),
    "three words": ("CS", b"A\\B\\C"),
    "words for numbers": ("DS", b"many"),
    "decimal comma": ("DS", b"1,5\\1,5"),
    "not a number": ("DS", b"nan\\nan"),
    "infinite": ("DS", b"inf"),
    "too large": ("DS", b"1e999"),
    "too whole": ("IS", b"99999999999999999999999"),
    "three numbers": ("US", b"\1\0\2\0\3\0"),
    "half a float": ("FL", b"\1\2"),
    "no float": ("FD", b"abc"),
    "float": ("FD", struct.pack("<d", 0.3)),
    "bytes": ("OB", b"\1\2\3\4"),
    "unknown": ("UN", b"hello!"),
    "a name": ("PN", b"Doe^Jane"),
    "no text": ("UT", b"\xff\xfe\xfd\xfc"),
    "an address": ("AT", b"\1\2\3\4"),
    "no kind of value": ("XX", b"abcd"),
}
# some of these values are good ones of these elements, and change the picture as they should
MEANT = {
    ("three numbers", "WindowCenter"),
    ("three numbers", "WindowWidth"),
    ("float", "WindowCenter"),
    ("float", "RescaleSlope"),
    ("an address", "RescaleSlope"),
}


def table(first: int, entries, bits: int = 16, count: int | None = None, kind: str = "US"):
    """An item of a LUT sequence; OB: one byte an entry."""
    item = Dataset()
    count = len(entries) if count is None else count
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [count, first, bits])
    if kind == "US":
        data = [int(entry) for entry in entries]
    else:
        data = np.asarray(entries, "<u2" if kind == "OW" else "u1").tobytes()
    item.add_new("LUTData", "US" if kind == "US" else "OW", data)
    return item


def assert_reads_as(expected: np.ndarray, data: bytes, most: float = 1e-5):
    film = read_radiograph(data, "film.dcm")
    np.testing.assert_allclose(film.image, expected, atol=most)
    return film.provenance.notes


def refusal_of(data: bytes) -> str:
    with pytest.raises(RadiographError) as error:
        read_radiograph(data, "film.dcm")
    words = str(error.value)
    assert not PYTHON_WORDS.search(words), words
    assert "Doe" not in words and re.search("export|convert|expected", words), words
    return words


# --- every element ---


@pytest.mark.parametrize("base", [{}, WINDOW], ids=["plain", "window"])
@pytest.mark.parametrize("keyword", ELEMENTS)
def test_an_odd_element_changes_nothing_or_is_refused_by_name(keyword, base):
    good = dicom(PhotometricInterpretation="MONOCHROME2", **base)
    files = {"absent": without(good, keyword)}
    files |= {name: put(good, keyword, *value) for name, value in ODD_VALUES.items()}
    for name, data in files.items():
        if (name, keyword) in MEANT and base:
            continue
        try:
            film = read_radiograph(data, "film.dcm")
        except RadiographError:
            assert keyword in refusal_of(data), name
        else:
            np.testing.assert_allclose(film.image, GOOD, atol=1e-5, err_msg=name)


def test_an_element_that_may_be_absent_may_be_empty():
    needed = {"Rows", "Columns", "PhotometricInterpretation", "BitsAllocated", "PixelData"}
    for keyword in ELEMENTS:
        for data in (without(dicom(), keyword), put(dicom(), keyword, "DS", b"")):
            if keyword in needed:
                assert keyword in refusal_of(data)
            else:
                assert_reads_as(GOOD, data)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([*ELEMENTS, *PALETTE_KEYWORDS]),
    st.sampled_from([*LONG, "AT", "CS", "DS", "FD", "FL", "IS", "LO", "PN", "SS", "UI", "US"]),
    st.binary(max_size=24),
    st.booleans(),
)
def test_any_value_gives_a_film_or_a_refusal_in_words(keyword, kind, value, coloured):
    good = dicom("RGB", np.dstack([GREY] * 3)) if coloured else dicom()
    try:
        read_radiograph(put(good, keyword, kind, value))
    except RadiographError as error:
        assert not PYTHON_WORDS.search(str(error)), error


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO 2022 IR 87", "NONSENSE", ""])
def test_names_in_any_encoding_do_not_matter(charset):
    data = dicom(SpecificCharacterSet=charset)
    for name in (b"\xff\xfe\x1b$B\xe4^", b"M\xfcller^J\xf6rg", b"\\\\==^^"):
        assert_reads_as(GOOD, put(data, "PatientName", "PN", name))


# --- rescale, windows and tables ---


@pytest.mark.parametrize("rescale", [(None, None), (2, None), (None, 300)])
def test_half_a_rescale(rescale):
    slope, intercept = rescale
    assert_reads_as(GOOD, dicom(RescaleSlope=slope, RescaleIntercept=intercept))


@pytest.mark.parametrize("slope", ["1e-300", "1e300", "0.001"])
@pytest.mark.parametrize("intercept", ["0", "1e20", "-1e300"])
def test_a_rescale_at_its_extremes(slope, intercept):
    assert_reads_as(GOOD, dicom(RescaleSlope=slope, RescaleIntercept=intercept))


def test_a_slope_of_zero_is_refused():
    assert "RescaleSlope is 0" in refusal_of(dicom(RescaleSlope=0, RescaleIntercept=5))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_negative_slope_does_not_turn_the_window_round(function):
    window = {"WindowCenter": 1000, "WindowWidth": 1500, "VOILUTFunction": function}
    expected = read_radiograph(dicom(**window)).image
    turned = {"pixels": 4095 - PIXELS, "RescaleSlope": -1, "RescaleIntercept": 4095}
    assert_reads_as(expected, dicom(**turned, **window))
    assert_reads_as(1 - expected, dicom("MONOCHROME1", **turned, **window))


def test_windows_by_the_formulas_of_the_standard():
    window = {"WindowCenter": 1000, "WindowWidth": 400}
    offset = PIXELS - 1000.0
    linear = stretch(np.clip((offset + 0.5) / 399 + 0.5, 0, 1))
    for several in (window, {"WindowCenter": [1000, 5], "WindowWidth": [400, 3]}):
        assert_reads_as(linear, dicom(**several))
    assert_reads_as(linear, dicom(**window, VOILUTFunction=""))
    notes = assert_reads_as(linear, put(dicom(**window), "VOILUTFunction", "CS", b"ODD"))
    assert "VOILUTFunction" in notes[0]
    exact = stretch(np.clip(offset / 400 + 0.5, 0, 1))
    assert_reads_as(exact, dicom(**window, VOILUTFunction="LINEAR_EXACT"))
    sigmoid = stretch(1 / (1 + np.exp(-4 * offset / 400)))
    assert_reads_as(sigmoid, dicom(**window, VOILUTFunction="SIGMOID"))


@pytest.mark.parametrize(
    "center, width",
    [(1000, 0), (1000, -3), (1000, 1), ("1e300", 5), (1000, "1e300"), (1000, None), (None, 400)],
)
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_that_shows_nothing_is_left_out_with_a_note(center, width, function):
    data = dicom(WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    assert "window" in assert_reads_as(GOOD, data)[0]


SQUARES = (np.arange(4096) ** 2 // 256).astype(int)
SHOWN = stretch(PIXELS.astype(int) ** 2 // 256)


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(
    "item, tags, expected",
    [
        (table(0, SQUARES), {}, SHOWN),
        (table(0, SQUARES, kind="OW"), {}, SHOWN),
        (table(0, SQUARES, bits=0), {}, SHOWN),
        (table(0, SQUARES >> 8, bits=8), {}, stretch((PIXELS.astype(int) ** 2 // 256) >> 8)),
        (
            table(0, SQUARES >> 8, bits=8, kind="OB"),
            {},
            stretch((PIXELS.astype(int) ** 2 // 256) >> 8),
        ),
        (table(0, np.arange(65536) // 2, count=0, kind="OW"), {}, stretch(PIXELS // 2)),
        (table(-2048, SQUARES), {"pixels": SIGNED, "PixelRepresentation": 1}, SHOWN),
        (table(65536 - 2048, SQUARES), {"pixels": SIGNED, "PixelRepresentation": 1}, SHOWN),
        (
            table(1000, SQUARES[:2000]),
            {},
            stretch(SQUARES[np.clip(PIXELS - 1000.0, 0, 1999).astype(int)]),
        ),
    ],
    ids=["", "OW", "no bits", "8 bit", "packed", "65536", "signed", "signed as US", "part"],
)
def test_tables(sequence, item, tags, expected):
    assert_reads_as(expected, dicom(**tags, **{sequence: [item]}))
    if item["LUTData"].VR == "OW" and not tags:
        syntax = "1.2.840.10008.1.2"
        assert_reads_as(expected, dicom(**{sequence: [item]}, syntax=syntax))


def test_a_table_that_cannot_be_used():
    no_descriptor = table(0, SQUARES)
    del no_descriptor.LUTDescriptor
    for item in (table(0, SQUARES[:900], count=4096), table(0, []), no_descriptor):
        assert "ModalityLUTSequence" in refusal_of(dicom(ModalityLUTSequence=[item]))
        assert "VOILUTSequence" in assert_reads_as(GOOD, dicom(VOILUTSequence=[item]))[0]
    same = table(0, [7] * 4096)
    assert "ModalityLUTSequence" in refusal_of(dicom(ModalityLUTSequence=[same]))
    assert "VOI LUT" in assert_reads_as(GOOD, dicom(VOILUTSequence=[same]))[0]
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        assert_reads_as(GOOD, dicom(**{sequence: []}))


def test_a_table_comes_before_a_window_and_after_a_negative_slope():
    voi = {"VOILUTSequence": [table(0, SQUARES)]}
    assert_reads_as(SHOWN, dicom(**voi, WindowCenter=5, WindowWidth=1))
    rescale = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    assert_reads_as(SHOWN, dicom(pixels=4095 - PIXELS, **rescale, **voi))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_shape_of_the_presentation_lut_inverts_once(photometric):
    assert_reads_as(1 - GOOD, dicom(photometric, PresentationLUTShape="INVERSE"))
    notes = read_radiograph(dicom(photometric, PresentationLUTShape="INVERSE")).provenance.notes
    assert bool(notes) == (photometric == "MONOCHROME2")


# --- the bits of a pixel ---


@pytest.mark.parametrize("stored", [8, 10, 12, 14, 16])
def test_samples_end_at_the_high_bit(stored):
    pixels = (RAMP * 2.0 ** (stored - 8)).astype(np.uint16)
    window = {"WindowCenter": 2 ** (stored - 1), "WindowWidth": 2**stored}
    for high in range(stored - 1, 16):
        below = high + 1 - stored
        shifted, tags = pixels << below, {"BitsStored": stored, "HighBit": high}
        assert_reads_as(stretch(pixels), dicom(pixels=shifted, **tags))
        assert_reads_as(stretch(pixels), dicom(pixels=shifted, **tags, **window), 1e-2)
        if below > 1:  # an overlay below, and one above
            overlay = np.arange(48) % 8 < 4
            shifted |= overlay
            shifted |= (overlay.astype(np.uint16) << 15) * np.uint16(high < 15)
            assert_reads_as(stretch(pixels), dicom(pixels=shifted, **tags))


@pytest.mark.parametrize(
    "tags, words",
    [
        ({"HighBit": 15}, "from the lowest bit"),
        ({"HighBit": 0}, "HighBit 0 cannot be"),
        ({"BitsStored": 10, "HighBit": 9}, "more bits"),
        ({"BitsStored": 1, "HighBit": 11}, "more bits"),
        ({"BitsStored": None, "HighBit": None}, "BitsStored: not in the file"),
        ({"BitsStored": 12, "PixelRepresentation": None}, "PixelRepresentation: not in the file"),
    ],
)
def test_bits_that_are_not_as_the_file_says_are_noted(tags, words):
    assert words in assert_reads_as(GOOD, dicom(**tags))[0]


def test_an_overlay_in_the_high_bits_is_left_out():
    overlay = np.random.default_rng(0).random(PIXELS.shape) < 0.1
    data = dicom(pixels=PIXELS | (overlay.astype(np.uint16) << 14))
    assert "overlay" in assert_reads_as(GOOD, data)[0]


def test_signed_pixels():
    assert_reads_as(GOOD, dicom(pixels=SIGNED, PixelRepresentation=1))
    twelve = (SIGNED.astype(np.int32) & 0xFFF).astype(np.uint16)
    assert_reads_as(GOOD, dicom(pixels=twelve, PixelRepresentation=1))
    left = (SIGNED.astype(np.int32) * 16).astype(np.int16)
    assert_reads_as(GOOD, dicom(pixels=left, PixelRepresentation=1, HighBit=15))


@pytest.mark.parametrize("bits", [32, 64])
def test_whole_numbers_of_many_bits(bits):
    deep = PIXELS.astype(f"u{bits // 8}") * 100_000 + 3_000_000_000
    assert_reads_as(GOOD, dicom(pixels=deep, BitsStored=bits, HighBit=bits - 1))
    signed = (deep.astype(np.int64) - 2**31).astype(f"i{bits // 8}")
    tags = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": 1}
    assert_reads_as(GOOD, dicom(pixels=signed, **tags))


@pytest.mark.parametrize("keyword, kind", [("Float", "f4"), ("DoubleFloat", "f8")])
def test_floating_point_pixels(keyword, kind):
    pixels = PIXELS.astype(kind)
    tags = {"PixelData": None, "BitsAllocated": 8 * pixels.itemsize}
    assert_reads_as(GOOD, dicom(**tags, **{f"{keyword}PixelData": pixels.tobytes()}))
    pixels[:, :6] = -5000
    tags |= {f"{keyword}PixelData": pixels.tobytes(), f"{keyword}PixelPaddingValue": -5000.0}
    expected = np.concatenate([np.zeros((64, 6)), stretch(PIXELS[:, 6:])], axis=1)
    assert_reads_as(expected, dicom(**tags))


# --- padding ---


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 0, "WindowWidth": 9000}])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "signed, bits, value",
    [
        (0, 16, 65535),
        (0, 12, 65535),
        (0, 16, 0xF830),
        (1, 16, -32768),
        (1, 12, -2048),
        (1, 12, -2000 - 4096),
        (1, 16, 32767),
    ],
)
def test_padding_is_shown_as_air(signed, bits, value, photometric, window):
    pixels = (SIGNED if signed else PIXELS).copy()
    pixels[:, :6] = value
    film = stretch(PIXELS[:, 6:])
    film = 1 - film if photometric == "MONOCHROME1" else film
    expected = np.concatenate([np.zeros((64, 6)), film], axis=1)
    data = dicom(
        photometric,
        pixels,
        PixelRepresentation=signed,
        BitsStored=bits,
        HighBit=bits - 1,
        **{"PixelPaddingValue": value} | (window if signed else {}),
    )
    assert_reads_as(expected, data, 2e-3)
    if value < 0:  # the same bits, written as if unsigned
        other = put(data, "PixelPaddingValue", "US", struct.pack("<H", value % 65536))
        assert_reads_as(expected, other, 2e-3)


@pytest.mark.parametrize("ends", [(60000, 61000), (61000, 60000)])
@pytest.mark.parametrize("bits", [12, 16])
def test_a_range_of_padding(ends, bits):
    pixels = PIXELS.copy()
    pixels[:, :3], pixels[:, 3:6] = 60000, 61000
    tags = {"PixelPaddingValue": ends[0], "PixelPaddingRangeLimit": ends[1]}
    expected = np.concatenate([np.zeros((64, 6)), stretch(PIXELS[:, 6:])], axis=1)
    assert_reads_as(expected, dicom(pixels=pixels, BitsStored=bits, HighBit=bits - 1, **tags))


def test_padding_that_covers_everything_is_left_out():
    notes = assert_reads_as(GOOD, dicom(PixelPaddingValue=0, PixelPaddingRangeLimit=65535))
    assert "PixelPaddingValue" in notes[0]


# --- how many pixels there are ---


def test_lengths_of_pixel_data():
    for padding in (b"\0\0", b"\0" * 700, b"\xff" * 128):
        assert_reads_as(GOOD, dicom(PixelData=PIXELS.tobytes() + padding))
    odd = np.resize(GREY, (63, 33))
    assert_reads_as(stretch(odd), dicom(pixels=odd))
    for tags in (
        {"PixelData": PIXELS.tobytes()[:-2]},
        {"PixelData": PIXELS.tobytes() * 2},  # two frames, and NumberOfFrames does not say so
        {"Columns": 47},
        {"Columns": 49},
        {"Rows": 63},
        {"Rows": 65},
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        {"BitsAllocated": 32},
    ):
        assert re.search("than expected.*Rows x Columns x", refusal_of(dicom(**tags)))
    assert "Columns and Rows" in refusal_of(dicom(Rows=0))
    for frames in (0, 1):
        assert_reads_as(GOOD, dicom(NumberOfFrames=frames))


# --- colours ---


def test_colours_as_other_software_writes_them():
    grey, rgb = stretch(GREY), np.dstack([GREY] * 3)
    plane = rgb.transpose(2, 0, 1).tobytes()
    assert_reads_as(grey, dicom("RGB", rgb, PlanarConfiguration=1, PixelData=plane))
    assert_reads_as(grey, dicom("RGB", rgb, PlanarConfiguration=None, SamplesPerPixel=None))
    none = np.full_like(GREY, 128)
    full = np.dstack([GREY, none, none])
    for photometric in ("YBR_FULL", "YBR_FULL_422"):  # said of pixels with all their colours, too
        assert_reads_as(grey, dicom(photometric, full), 0.01)
    half = np.stack([GREY[:, ::2], GREY[:, 1::2], none[:, ::2], none[:, ::2]], axis=-1)
    assert_reads_as(grey, dicom("YBR_FULL_422", full, PixelData=half.tobytes()), 0.01)


def test_a_palette_that_cannot_be_used_is_named():
    ramp, palette = (np.arange(256) * 257).astype("<u2").tobytes(), {}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = ramp
    assert_reads_as(stretch(GREY), dicom("PALETTE COLOR", GREY, **palette))
    for keyword in palette:
        if keyword[:3] == "Red" or keyword.endswith("Data"):  # one descriptor counts for all
            data = dicom("PALETTE COLOR", GREY, **palette | {keyword: None})
            assert "PaletteColorLookupTable" in refusal_of(data)
            data = dicom("PALETTE COLOR", GREY, **palette)
            assert "PaletteColorLookupTable" in refusal_of(put(data, keyword, "DS", b"many"))


# --- decoders ---


def encode_jpeg_2000(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG2000", no_jp2=True)
    return buffer.getvalue()


@pytest.mark.parametrize("padding", [0, 1, 2, 30])
def test_jpeg_2000_with_bytes_behind_its_end(padding):
    frame = encode_jpeg_2000(PIXELS)
    tile = frame.index(b"\xff\x90") + 6  # a length of 0: up to the end of the stream
    frame = frame[:tile] + b"\0\0\0\0" + frame[tile + 4 :] + b"\0" * padding
    notes = assert_reads_as(GOOD, encapsulated(frame, JPEG_2000, pixels=PIXELS))
    assert not notes or "pillow could not decode the pixels, but gdcm could" in notes


def test_jpeg_2000_that_is_cut_short_is_refused_by_every_decoder():
    frame = encode_jpeg_2000(PIXELS)[:-200]
    assert "cut short" in refusal_of(encapsulated(frame, JPEG_2000, pixels=PIXELS))
    words = refusal_of(encapsulated(frame + b"\xff\xd9", JPEG_2000, pixels=PIXELS))
    assert "cannot be decoded (pillow, gdcm)" in words


@pytest.mark.parametrize("number", [201, 202, 203])
def test_high_throughput_jpeg_2000(number):
    pixels = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    data = encapsulated(HTJ2K, f"1.2.840.10008.1.2.4.{number}", pixels=pixels)
    assert_reads_as(stretch(pixels), data)
    assert "High-Throughput" in read_radiograph(data).provenance.transfer_syntax


def test_jpeg_ls_that_only_one_decoder_reads():
    import jpeg_ls

    pixels = GREY >> 2
    frame = bytes(jpeg_ls.encode_array(pixels))
    data = encapsulated(frame, "1.2.840.10008.1.2.4.80", pixels=pixels, BitsStored=6, HighBit=5)
    assert "gdcm could not" in assert_reads_as(stretch(pixels), data)[0]


@pytest.mark.parametrize("syntax", [50, 51])
@pytest.mark.parametrize("bits", [(8, 8), (16, 8), (16, 12)])
def test_eight_bit_jpeg_whatever_the_header_says(syntax, bits):
    tags = {"BitsAllocated": bits[0], "BitsStored": bits[1], "HighBit": bits[1] - 1}
    frame = encode(GREY, "JPEG", quality=100)
    data = encapsulated(frame, f"1.2.840.10008.1.2.4.{syntax}", **tags)
    assert_reads_as(stretch(GREY), data, 0.02)


@pytest.mark.parametrize("syntax", [*COMPRESSED, "ExplicitVRBigEndian"])
def test_signed_padded_and_left_justified_pixels_in_every_syntax(syntax, tmp_path):
    pixels = SIGNED.copy()
    pixels[:, :6] = -2048
    expected = np.concatenate([np.zeros((64, 6)), stretch(PIXELS[:, 6:])], axis=1)
    data = dicom(pixels=pixels, PixelRepresentation=1, PixelPaddingValue=-2048)
    assert_reads_as(expected, compress(data, syntax, tmp_path))
    left = dicom(pixels=PIXELS << 4, BitsStored=16, HighBit=15)
    packed = compress(left, syntax, tmp_path)
    if syntax in COMPRESSED:  # gdcm itself writes a HighBit that is not 15
        packed = put(put(packed, "BitsStored", "DS", b"12"), "HighBit", "DS", b"15")
    assert_reads_as(GOOD, packed)


# --- spacing ---


@pytest.mark.parametrize(
    "tags, spacing, words",
    [
        ({"PixelSpacing": [0.15, 0.15]}, 0.15, ""),
        ({"PixelSpacing": [0.14, 0.14]}, 0.15, "ImagerPixelSpacing (0.15 mm) is used, although"),
        (
            {
                "ImagerPixelSpacing": None,
                "PixelSpacing": [0.2] * 2,
                "NominalScannedPixelSpacing": [0.1] * 2,
            },
            0.2,
            "PixelSpacing (0.2 mm) is used, although NominalScannedPixelSpacing is 0.1 mm",
        ),
        ({"EstimatedRadiographicMagnificationFactor": 1.2}, 0.15, "MagnificationFactor is 1.2"),
        ({"EstimatedRadiographicMagnificationFactor": 1.0}, 0.15, ""),
        ({"EstimatedRadiographicMagnificationFactor": None}, 0.15, ""),
        ({"EstimatedRadiographicMagnificationFactor": 0}, 0.15, ""),
        ({"ImagerPixelSpacing": [0.15]}, None, "ImagerPixelSpacing is not two numbers"),
        ({"PixelSpacing": [0.1, 0.3]}, 0.15, "PixelSpacing: pixels are not square"),
    ],
)
def test_which_spacing_is_used_is_said_where_two_disagree(tags, spacing, words):
    film = read_radiograph(dicom(**tags))
    assert film.spacing_mm == spacing
    assert words in "".join(film.provenance.notes) and bool(words) == bool(film.provenance.notes)
