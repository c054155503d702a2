"""Reading films: what every format becomes, what is kept of it, and messages for bad files."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from rahelpers.films.radiograph import Provenance, Radiograph, RadiographError, quote_name
from rahelpers.films.reading import read_radiograph
from tests.films.files import (
    COLOURED,
    COMPRESSED,
    DEEP,
    GREY,
    LUMA,
    RAMP,
    compress,
    dicom,
    encapsulated,
    encode,
    encode_deep_png,
    encode_tiff,
    stretch,
)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_give_the_same_film(kind):
    film = read_radiograph(encode(GREY, kind))
    np.testing.assert_allclose(film.image, GREY / 255, atol=1e-6)
    assert film.provenance == Provenance(format=kind, bits_stored=8, mode="L", width=48, height=64)
    assert film.image.dtype == np.float32 and film.spacing_mm is None and film.laterality == ""


def test_jpeg():
    film = read_radiograph(encode(GREY, "JPEG", quality=95))
    np.testing.assert_allclose(film.image, GREY / 255, atol=0.03)
    assert film.provenance == Provenance(
        format="JPEG", bits_stored=8, mode="L", width=48, height=64
    )


@pytest.mark.parametrize(
    "kind, options",
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_sixteen_bit_keeps_its_depth(kind, options):
    film = read_radiograph(encode(DEEP, kind, **options))
    np.testing.assert_allclose(film.image, stretch(DEEP), atol=1e-6)
    assert film.provenance.bits_stored == 16 and film.provenance.mode == "I;16"


def test_twelve_bit_and_float_tiff():
    values = (RAMP * 16).astype(np.uint16)
    first, second = values.ravel().astype(np.uint32).reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    film = read_radiograph(encode_tiff(packed.astype(np.uint8).tobytes(), 48, 64, 12, 1))
    np.testing.assert_allclose(film.image, stretch(values), atol=1e-6)
    assert film.provenance.bits_stored == 12
    film = read_radiograph(encode((RAMP / 7).astype(np.float32), "TIFF"))
    np.testing.assert_allclose(film.image, RAMP / 255, atol=1e-6)
    assert film.provenance.bits_stored == 32


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_float_tiff_with_a_value_that_is_not_a_number_is_refused(value):
    image = RAMP.astype(np.float32)
    image[5, 5] = value
    with pytest.raises(RadiographError, match="not finite.*save it again"):
        read_radiograph(encode(image, "TIFF"))


def test_float_tiff_at_the_ends_of_its_range_is_still_from_0_to_1():
    for scale in (3e38, 1e-40):
        values = ((RAMP / 255 - 0.5) * 2 * scale).astype(np.float32)
        film = read_radiograph(encode(values, "TIFF"))
        np.testing.assert_allclose(film.image, RAMP / 255, atol=1e-3)


def test_white_is_zero_tiff_comes_out_bone_bright():
    eight = encode_tiff((255 - GREY).tobytes(), 48, 64, 8, 0)
    sixteen = encode_tiff((65535 - DEEP).astype("<u2").tobytes(), 48, 64, 16, 0)
    inverted = (65535 - DEEP).astype(np.uint16)
    packed = encode(inverted, "TIFF", compression="tiff_lzw", tiffinfo={262: 0})
    for data, expected in ((eight, GREY), (sixteen, DEEP), (packed, DEEP)):
        film = read_radiograph(data)
        np.testing.assert_allclose(film.image, stretch(expected), atol=1e-6)
        assert film.provenance.inverted


def test_one_bit_and_palette():
    bilevel = Image.fromarray(GREY).convert("1", dither=Image.Dither.NONE)
    film = read_radiograph(encode(bilevel, "PNG"))
    np.testing.assert_array_equal(film.image, np.asarray(bilevel).astype(np.float32))
    assert (film.provenance.bits_stored, film.provenance.mode) == (1, "1")
    palette = Image.fromarray(GREY).convert("P")
    for kind in ("PNG", "BMP"):
        film = read_radiograph(encode(palette, kind))
        np.testing.assert_allclose(film.image, np.asarray(palette.convert("L")) / 255, atol=1e-6)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG"])
def test_colour_stored_grey_is_grey(kind):
    film = read_radiograph(encode(np.dstack([GREY] * 3), kind))
    np.testing.assert_allclose(film.image, GREY / 255, atol=0.03 if kind == "JPEG" else 1e-6)
    assert film.provenance.colour == "grey" and film.provenance.mode == "RGB"


def test_real_colours_are_reduced_and_it_is_said():
    for picture in (Image.fromarray(COLOURED), Image.fromarray(COLOURED).quantize(200)):
        film = read_radiograph(encode(picture, "PNG"))
        luma = np.asarray(picture.convert("RGB")) @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(film.image, stretch(luma), atol=1e-5)
        assert film.provenance.colour == "converted"
    film = read_radiograph(encode(Image.fromarray(COLOURED).convert("CMYK"), "JPEG", quality=95))
    np.testing.assert_allclose(film.image, stretch(LUMA), atol=0.06)


def test_transparency_is_laid_over_black():
    alpha = np.where(np.arange(48) < 24, 255, 0).astype(np.uint8) * np.ones((64, 1), np.uint8)
    expected = stretch(GREY * (alpha / 255))
    for samples in (np.dstack([GREY, alpha]), np.dstack([GREY, GREY, GREY, alpha])):
        film = read_radiograph(encode(samples, "PNG"))
        np.testing.assert_allclose(film.image, expected, atol=1e-5)
        assert film.provenance.alpha
    marked = read_radiograph(encode(Image.fromarray(GREY), "PNG", transparency=200))
    np.testing.assert_allclose(marked.image, stretch(np.where(GREY == 200, 0, GREY)), atol=1e-6)
    assert not read_radiograph(encode(GREY, "PNG")).provenance.alpha


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_colour_png_keeps_its_depth(channels):
    samples = np.dstack([DEEP] * 3)[..., : 1 if channels == 2 else 3]
    if channels != 3:
        samples = np.dstack([samples, np.full_like(DEEP, 65535)])
    film = read_radiograph(encode_deep_png(samples))
    np.testing.assert_allclose(film.image, stretch(DEEP), atol=1e-6)
    assert film.provenance.bits_stored == 16


def turned(orientation: int, image: np.ndarray) -> Image.Image:
    """The picture stored so that this EXIF orientation makes it upright."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture = Image.fromarray(image)
    return picture if orientation == 1 else picture.transpose(back[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_exif_orientation_turns_films_upright(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    picture = turned(orientation, GREY)
    film = read_radiograph(encode(picture, kind, exif=exif))
    np.testing.assert_allclose(film.image, GREY / 255, atol=0.04 if kind == "JPEG" else 1e-6)
    assert film.provenance.orientation == orientation
    assert (film.provenance.width, film.provenance.height) == picture.size


def test_a_film_with_meaningless_exif_is_still_read():
    exif = Image.Exif()
    exif[274] = 9
    film = read_radiograph(encode(GREY, "PNG", exif=exif))
    np.testing.assert_allclose(film.image, GREY / 255, atol=1e-6)
    assert film.provenance.orientation == 1 and "EXIF" in film.provenance.notes[0]


def test_a_second_page_is_refused_but_a_thumbnail_is_not():
    page, small = Image.fromarray(GREY), Image.fromarray(GREY[::2, ::2])
    with pytest.raises(RadiographError, match="more than one picture; expected one film"):
        read_radiograph(encode(page, "TIFF", save_all=True, append_images=[page]))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    film = read_radiograph(encode(page, "TIFF", save_all=True, append_images=[small]))
    np.testing.assert_allclose(film.image, GREY / 255, atol=1e-6)


def test_a_flipped_bit_in_a_png_is_noticed():
    data = bytearray(encode(GREY, "PNG", compress_level=0))
    data[len(data) // 2] ^= 1  # a pixel; Pillow by itself would show it
    with pytest.raises(RadiographError, match="damaged"):
        read_radiograph(bytes(data))


def test_the_content_decides_not_the_extension(tmp_path):
    files = {"b.png": dicom()} | {
        name: encode(GREY, kind)
        for name, kind in (("a.jpg", "PNG"), ("c", "TIFF"), ("d.dcm", "BMP"))
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        for path in (tmp_path / name, str(tmp_path / name)):
            np.testing.assert_allclose(read_radiograph(path).image, RAMP / 255, atol=0.005)


# --- DICOM ---


def test_dicom_polarity_spacing_side_and_no_name():
    two, one = read_radiograph(dicom("MONOCHROME2")), read_radiograph(dicom("MONOCHROME1"))
    np.testing.assert_allclose(two.image, 1 - one.image, atol=1e-5)
    assert (two.spacing_mm, two.laterality) == (0.15, "R")
    assert "Doe" not in repr(two)
    assert two.provenance == Provenance(
        format="DICOM",
        transfer_syntax="Explicit VR Little Endian",
        bits_stored=12,
        mode="MONOCHROME2",
        width=48,
        height=64,
    )
    assert one.provenance.inverted and one.provenance.mode == "MONOCHROME1"


def test_nothing_that_identifies_a_person_is_kept_or_said():
    private = ("Doe", "ID4711", "1970", "Mercy", "Mrs", "ACC99", "ROOM7", "1.2.3.4.5")
    kept = json.dumps(asdict(read_radiograph(dicom()).provenance))
    assert not [word for word in private if word in kept]
    whole = dicom()
    for cut in range(140, len(whole), 40):
        with pytest.raises(RadiographError) as error:
            read_radiograph(whole[:cut])
        assert not [word for word in private if word in str(error.value)]


@pytest.mark.parametrize(
    "syntax",
    [
        *COMPRESSED,
        "ImplicitVRLittleEndian",
        "ExplicitVRBigEndian",
        "DeflatedExplicitVRLittleEndian",
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_transfer_syntaxes_give_the_same_film(tmp_path, syntax, photometric):
    plain = read_radiograph(dicom(photometric))
    film = read_radiograph(compress(dicom(photometric), syntax, tmp_path))
    np.testing.assert_array_equal(film.image, plain.image)
    assert film.provenance.transfer_syntax not in ("", plain.provenance.transfer_syntax)
    assert (film.spacing_mm, film.laterality, film.provenance.bits_stored) == (0.15, "R", 12)


@pytest.mark.parametrize("number", [50, 51])
def test_jpeg_baseline_and_eight_bit_extended(number):
    frame = encode(GREY, "JPEG", quality=95)
    film = read_radiograph(encapsulated(frame, f"1.2.840.10008.1.2.4.{number}"))
    np.testing.assert_allclose(film.image, GREY / 255, atol=0.03)
    assert film.provenance.transfer_syntax.startswith("JPEG") and film.provenance.bits_stored == 8


@pytest.mark.parametrize(
    "other",
    [
        "MR_small_RLE",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
        "MR_small_bigendian",
        "MR_small_implicit",
    ],
)
def test_signed_pixels_of_a_scanner_in_every_syntax(other):
    from pydicom.data import get_testdata_file

    plain, film = (
        read_radiograph(get_testdata_file(f"{name}.dcm", download=False))
        for name in ("MR_small", other)
    )
    np.testing.assert_array_equal(film.image, plain.image)


@pytest.mark.parametrize(
    "number, words",
    [(b"4.205", "Referenced"), (b"4.100", "MPEG2"), (b"9.999", "an unknown transfer syntax")],
)
def test_a_syntax_that_is_not_read_is_named(number, words):
    root = b"1.2.840.10008.1.2."
    data = encapsulated(b"whatever", (root + b"4.201").decode())
    with pytest.raises(
        RadiographError, match="stored as .*High-Throughput.*convert the file first"
    ):
        read_radiograph(data)
    data = data.replace(root + b"4.201", root + number)
    with pytest.raises(RadiographError, match=f"stored as .*{words}.*convert the file first"):
        read_radiograph(data)


def test_twelve_bit_jpeg_extended(tmp_path):
    film = read_radiograph(compress(dicom(), "JPEGExtendedProcess2_4", tmp_path))
    np.testing.assert_allclose(film.image, RAMP / 255, atol=0.03)
    assert film.provenance.bits_stored == 12


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_is_applied_before_the_polarity(function):
    tags = {"WindowCenter": 1000, "WindowWidth": 400, "VOILUTFunction": function}
    two, one = (
        read_radiograph(dicom(photometric, **tags))
        for photometric in ("MONOCHROME2", "MONOCHROME1")
    )
    stored = (RAMP * 16).astype(np.uint16)
    dark, bright = (two.image[stored < 790], two.image[stored > 1210])
    assert two.provenance.windowed and dark.max() < 0.12 and bright.min() > 0.88
    assert 0.4 < np.interp(1000, stored.ravel(), two.image.ravel()) < 0.6
    np.testing.assert_allclose(one.image, 1 - two.image, atol=1e-5)


def test_the_window_is_stated_for_rescaled_values():
    plain = read_radiograph(dicom(WindowCenter=1000, WindowWidth=400))
    window = {"WindowCenter": 1900, "WindowWidth": 800, "VOILUTFunction": "LINEAR_EXACT"}
    scaled = read_radiograph(dicom(RescaleSlope=2, RescaleIntercept=-100, **window))
    np.testing.assert_allclose(scaled.image, plain.image, atol=0.005)


@pytest.mark.parametrize("slope", [1, 0.5])
def test_voi_lut(slope):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = list((np.arange(4096) ** 2 // 256).astype(int))
    table["LUTData"].VR = "US"
    film = read_radiograph(dicom(VOILUTSequence=[table], RescaleSlope=slope, RescaleIntercept=0))
    values = ((RAMP * 16).astype(np.uint16) * slope).astype(int)
    np.testing.assert_allclose(film.image, stretch(values**2 // 256), atol=2e-3)
    assert film.provenance.windowed


@pytest.mark.parametrize(
    "window", [(1000, -5), (1000, 0), (90000, 20), (["1000", "2000"], ["-1", "5"])]
)
def test_a_window_that_makes_no_sense_is_left_out_and_noted(window):
    film = read_radiograph(dicom(WindowCenter=window[0], WindowWidth=window[1]))
    np.testing.assert_array_equal(film.image, read_radiograph(dicom()).image)
    assert not film.provenance.windowed and "window" in film.provenance.notes[0]


@pytest.mark.parametrize(
    "row, column, expected",
    [
        ("0.15", "0.15", 0.15),
        ("0.15", ".151", 0.1505),
        ("0.10", "0.20", None),
        ("0.00", "0.00", None),
        ("-.15", "-.15", None),
        (" NaN", " NaN", None),
        ("text", "text", None),
        ("1e99", "1e99", None),
        (" inf", " inf", None),
        ("0.15", "    ", None),
        ("1e-9", "1e-9", None),
    ],
)
def test_spacing_is_one_number_or_none_with_a_note(row, column, expected):
    data = dicom().replace(b"0.15\\0.15", f"{row}\\{column}".encode())
    film = read_radiograph(data)
    assert film.spacing_mm == pytest.approx(expected) if expected else film.spacing_mm is None
    assert bool(film.provenance.notes) == (expected is None)
    assert "ImagerPixelSpacing" in "".join(film.provenance.notes) or expected


def test_the_next_spacing_counts_where_the_first_makes_no_sense():
    data = dicom(PixelSpacing=[0.175, 0.175]).replace(b"0.15\\0.15", b"0.00\\0.00")
    assert read_radiograph(data).spacing_mm == 0.175
    data = dicom(ImagerPixelSpacing=None, PixelSpacing=[0.2, 0.2])
    assert read_radiograph(data).spacing_mm == 0.2
    assert read_radiograph(dicom(ImagerPixelSpacing=None)).spacing_mm is None


@pytest.mark.parametrize("side, expected", [("L", "L"), ("R", "R"), ("B", ""), ("U", ""), ("", "")])
def test_side(side, expected):
    assert read_radiograph(dicom(ImageLaterality=side)).laterality == expected
    assert read_radiograph(dicom(ImageLaterality=None, Laterality=side)).laterality == expected


def test_secondary_captures_in_colour():
    film = read_radiograph(dicom("RGB", COLOURED))
    np.testing.assert_allclose(film.image, stretch(LUMA), atol=1e-5)
    assert (film.provenance.colour, film.provenance.mode) == ("converted", "RGB")
    assert read_radiograph(dicom("RGB", np.dstack([GREY] * 3))).provenance.colour == "grey"
    ramp, palette = (np.arange(256) * 257).astype("<u2"), {}
    for colour, values in {"Red": ramp, "Green": ramp, "Blue": ramp[::-1]}.items():
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = values.tobytes()
    film = read_radiograph(dicom("PALETTE COLOR", GREY, **palette))
    luma = GREY * 0.886 + (255.0 - GREY) * 0.114
    np.testing.assert_allclose(film.image, stretch(luma), atol=1e-4)
    assert (film.provenance.colour, film.provenance.mode) == ("converted", "PALETTE COLOR")


@pytest.mark.parametrize(
    "tags, words",
    [
        ({"PhotometricInterpretation": "HSV"}, "not one that is read; expected MONOCHROME1"),
        ({"PhotometricInterpretation": None}, "is missing"),
        ({"NumberOfFrames": 7}, "holds 7 frames; expected one film"),
        ({"SamplesPerPixel": 4}, "4 samples per pixel"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels"),
        ({"Rows": 0}, "48 x 0 pixels"),
        ({"Rows": 65}, "less than expected"),
        ({"PixelData": None}, "holds no pixels"),
    ],
)
def test_a_dicom_file_that_is_not_a_single_film_is_refused_in_words(tags, words):
    with pytest.raises(RadiographError, match=f"film.dcm: .*{words}"):
        read_radiograph(dicom(**tags), "film.dcm")


def test_without_preamble_it_is_still_read():
    plain = read_radiograph(dicom())
    data = dicom()
    body = data[data.index(b"\x08\0\x16\0") :]
    # without preamble; with the prefix only; without the file's meta information
    for shortened in (data[132:], data[128:], body):
        film = read_radiograph(shortened)
        np.testing.assert_array_equal(film.image, plain.image)
        assert (film.spacing_mm, film.laterality) == (0.15, "R")
        assert film.provenance.notes == ("the DICOM preamble is missing",)
    words = "not a picture that can be read; expected PNG, JPEG, TIFF, BMP or DICOM"
    with pytest.raises(RadiographError, match=words):
        read_radiograph(dicom(PixelData=None)[132:])


# --- results and messages ---


def test_provenance_is_last_has_a_default_and_is_plain_data():
    film = Radiograph(GREY / np.float32(255), 0.1, "L")
    assert (film.spacing_mm, film.laterality, film.provenance) == (0.1, "L", Provenance())
    with pytest.raises(AttributeError):
        film.provenance.format = "PNG"
    json.dumps(asdict(read_radiograph(dicom()).provenance))


def test_bytearray_and_memoryview_are_bytes_too():
    for kind in (bytearray, memoryview):
        assert read_radiograph(kind(encode(GREY, "PNG"))).image.shape == (64, 48)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        encode(GREY, "PNG")[:90],
        dicom("MONOCHROME2")[:300],
        encode(np.zeros((64, 64), np.uint8), "PNG"),
        encode(np.zeros((4, 4), np.uint8), "PNG"),
        b"\0" * 128 + b"DICM" + b"junk" * 50,
    ],
)
def test_bad_files_get_a_message(content):
    with pytest.raises(RadiographError, match="film.png"):
        read_radiograph(content, "film.png")


@pytest.mark.parametrize(
    "content, words",
    [
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"<html>", "a web page"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (encode(GREY, "GIF"), "a GIF picture"),
        (encode(GREY, "WEBP"), "a WebP picture"),
    ],
)
def test_a_file_of_another_kind_is_named(content, words):
    expected = f"this is {words}.*expected PNG, JPEG, TIFF, BMP or DICOM"
    with pytest.raises(RadiographError, match=expected):
        read_radiograph(content)


def test_missing_file(tmp_path):
    with pytest.raises(RadiographError, match="no such file"):
        read_radiograph(tmp_path / "none.png")


def test_a_name_never_breaks_a_message():
    assert quote_name("film 7 (left).png") == "film 7 (left).png"
    assert quote_name("a\nb.png") == r"'a\nb.png'"
    assert quote_name(" a.png") == "' a.png'"
    assert quote_name("Hände.png") == "Hände.png"
    assert quote_name("\u202egnp.a") == r"'\u202egnp.a'"  # would turn the rest of the line round
    quote_name("\udcff.png").encode()  # a name that is not UTF-8 can still be printed
    long = quote_name("x" * 5000 + ".png")
    assert len(long) <= 121 and long.endswith(".png")


@pytest.mark.parametrize(
    ("modality", "other"),
    [
        ("MR", "magnetic resonance"),
        ("ct", "computed tomography"),
        ("DX", ""),
        ("RG", ""),
        ("OT", ""),
        ("Doe", ""),
    ],
)
def test_the_kind_of_device_is_named_and_nothing_else_of_it_is_kept(modality, other):
    film = read_radiograph(dicom(Modality=modality))
    assert film.provenance.other_modality == other and "Doe" not in repr(film.provenance)


def coloured(picture: np.ndarray) -> float:
    """Share of an RGB picture, uint8 (H, W, 3), that is coloured."""
    return read_radiograph(encode(picture, "PNG")).provenance.coloured


def test_share_of_coloured_pixels():
    rng = np.random.default_rng(3)
    grey = np.repeat(rng.integers(20, 235, (100, 100, 1), dtype=np.uint8), 3, axis=2)
    assert coloured(grey) == 0
    tinted = np.clip(grey * np.array([0.8, 0.95, 1.2]), 0, 255).astype(np.uint8)
    assert coloured(tinted) < 0.01, "a blue film, as a telephone sees one on a light box"
    marked = grey.copy()
    marked[:10, :20] = (255, 30, 30)
    assert coloured(marked) == pytest.approx(0.02, abs=0.002), "a red mark of two per cent"
    assert coloured(np.random.default_rng(4).integers(0, 255, (100, 100, 3), dtype=np.uint8)) > 0.8
