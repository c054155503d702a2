"""Bad input: broken, hostile and misnamed files, and odd names.

Each ends in a message, in time, in bounded memory, and harms no other file.
"""

import functools
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate

from rahelpers.films.radiograph import MAX_BYTES, MAX_PIXELS, RadiographError
from rahelpers.films.reading import read_radiograph
from tests.conftest import MOST_SECONDS
from tests.films.files import (
    COLOURED,
    DEEP,
    GOOD,
    GOOD_IMAGE,
    GREY,
    POSIX,
    compress,
    dicom,
    encapsulated,
    encode,
    encode_deep_png,
    encode_tiff,
    png_chunk,
)

MOST_MEGABYTES = 600  # above what the libraries take: a film of MAX_PIXELS is 256 MB as float32
APART = ("lossless.dcm", "jpeg-ls.dcm")  # decoded in a process of their own, 0.3 s each
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


@functools.cache
def good_files() -> dict[str, bytes]:
    """One good file of each kind."""
    exif = Image.Exif()
    exif[274] = 6
    plain = dicom()
    files = {
        "grey.png": encode(GREY, "PNG"),
        "deep.png": GOOD,
        "deep-colour.png": encode_deep_png(np.dstack([DEEP] * 3)),
        "palette.png": encode(Image.fromarray(COLOURED).quantize(40), "PNG"),
        "alpha.png": encode(np.dstack([GREY, GREY]), "PNG"),
        "grey.jpg": encode(GREY, "JPEG", exif=exif),
        "colour.jpg": encode(COLOURED, "JPEG"),
        "progressive.jpg": encode(GREY, "JPEG", progressive=True),
        "grey.tif": encode(GREY, "TIFF"),
        "deep.tif": encode(DEEP, "TIFF"),
        "lzw.tif": encode(DEEP, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encode(GREY, "TIFF", compression="tiff_adobe_deflate"),
        "fax.tif": encode(Image.fromarray(GREY).convert("1"), "TIFF", compression="group4"),
        "grey.bmp": encode(GREY, "BMP"),
        "colour.bmp": encode(COLOURED, "BMP"),
        "plain.dcm": plain,
        "window.dcm": dicom("MONOCHROME1", WindowCenter=2000, WindowWidth=3000),
        "no-preamble.dcm": plain[132:],
        "rgb.dcm": dicom("RGB", COLOURED),
        "jpeg.dcm": encapsulated(encode(GREY, "JPEG"), JPEG_BASELINE),
    }
    syntaxes = {
        "implicit.dcm": "ImplicitVRLittleEndian",
        "big-endian.dcm": "ExplicitVRBigEndian",
        "deflated.dcm": "DeflatedExplicitVRLittleEndian",
        "rle.dcm": "RLELossless",
        "jpeg2000.dcm": "JPEG2000Lossless",
        "lossless.dcm": "JPEGLosslessProcess14_1",
        "jpeg-ls.dcm": "JPEGLSLossless",
    }
    with tempfile.TemporaryDirectory() as folder:
        return files | {
            name: compress(plain, syntax, Path(folder)) for name, syntax in syntaxes.items()
        }


def make_truncated() -> dict[str, bytes]:
    """Every kind of file, cut short at many places."""
    cut = {}
    for name, data in good_files().items():
        most = len(data) - 20  # the last bytes may be padding
        places = {1, 4, 12, 30, 100, 131, 133, 150, most}
        places |= {len(data) * tenth // 10 for tenth in range(1, 10)}
        cut |= {f"{place}-{name}": data[:place] for place in sorted(places) if place <= most}
    return cut


def make_nonsense() -> dict[str, bytes]:
    """Files that are not pictures, or only start as one."""
    rng = np.random.default_rng(0)
    noise = {f"noise-{size}.png": rng.bytes(size) for size in (1, 31, 133, 4096)}
    starts = {
        "png": b"\x89PNG\r\n\x1a\n",
        "jpg": b"\xff\xd8\xff\xe0",
        "tif": b"II*\0",
        "bmp": b"BM",
        "dcm": b"\0" * 128 + b"DICM",
        "dicom": b"\x08\0\x05\0CS",
    }
    after = {"noise": rng.bytes(500), "zeros": b"\0" * 500, "ones": b"\xff" * 500}
    headless = {
        f"no-start-{name}": b"\0" * 40 + data[40:]
        for name, data in good_files().items()
        if name.endswith((".png", ".jpg", ".tif", ".bmp"))
    }
    kinds = {
        "empty.png": b"",
        "zero.dcm": b"\0",
        "zeros.tif": b"\0" * 10_000,
        "text.png": "Röntgen, beide Hände".encode(),
        "table.jpg": b"image_id,label\na,1\n",
        "page.png": b"<!doctype html><title>404</title>",
        "report.dcm": b"%PDF-1.7",
        "films.bmp": b"PK\x03\x04" + b"\0" * 60,
        "moving.png": encode(GREY, "GIF"),
        "web.jpg": encode(GREY, "WEBP"),
        "newlines.png": b"\n" * 300,
    }
    started = {
        f"{a}-after.{s}": start + rest for s, start in starts.items() for a, rest in after.items()
    }
    return noise | started | headless | kinds


def make_absurd() -> dict[str, bytes]:
    """Complete files whose headers say what cannot be."""
    page = Image.fromarray(GREY)
    nan = (GREY / 7).astype(np.float32)
    nan[3, 3] = np.nan
    found = {
        "nan.tif": encode(nan, "TIFF"),
        "blank.png": encode(np.full((64, 64), 9, np.uint8), "PNG"),
        "tiny.png": encode(GREY[:20, :20], "PNG"),
        "line.png": encode(np.resize(GREY, (1, 4000)), "PNG"),
        "no-size.png": patch_png(0, 0),
        "two.tif": encode(page, "TIFF", save_all=True, append_images=[page]),
        "moving.apng": encode(
            page, "PNG", save_all=True, append_images=[Image.fromarray(255 - GREY)]
        ),
    }
    headers = [
        {"Rows": 0},
        {"Columns": 0},
        {"Rows": 65},
        {"Columns": 4000},
        {"Rows": None},
        {"BitsAllocated": 0},
        {"BitsAllocated": 7},
        {"BitsAllocated": 17},
        {"BitsAllocated": 64},
        {"BitsStored": 0},
        {"BitsStored": 99},
        {"SamplesPerPixel": 2},
        {"SamplesPerPixel": 3},
        {"SamplesPerPixel": 65535},
        {"PixelRepresentation": 7},
        {"NumberOfFrames": 2},
        {"NumberOfFrames": 2**31 - 1},
        {"PhotometricInterpretation": "HSV"},
        {"PhotometricInterpretation": ""},
        {"PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"PixelData": b""},
        {"PixelData": b"\1\2"},
        {"RescaleSlope": 0, "RescaleIntercept": 5},
        {"Rows": [64, 64]},
    ]
    found |= {f"header-{i}.dcm": dicom(**tags) for i, tags in enumerate(headers)}
    slope = dicom(RescaleSlope=1111, RescaleIntercept=0)
    empty = b"\xfe\xff\0\xe0\0\0\0\0"
    return found | {
        "words-for-frames.dcm": dicom(NumberOfFrames=1111).replace(b"1111", b"many"),
        "words-for-slope.dcm": slope.replace(b"1111", b"many"),
        "nan-slope.dcm": slope.replace(b"1111", b" NaN"),
        "video.dcm": encapsulated(b"\0\0\1\xba" * 50, "1.2.840.10008.1.2.4.100"),
        "another-size-inside.dcm": encapsulated(encode(GREY[:40], "JPEG"), JPEG_BASELINE),
        "png-inside.dcm": encapsulated(encode(GREY, "PNG"), JPEG_BASELINE),
        "no-fragments.dcm": dicom(pixels=GREY, syntax=JPEG_BASELINE, PixelData=empty),
    }


def patch_png(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG that claims this size."""
    header = png_chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + png_chunk(b"IDAT", content or zlib.compress(b"\0" * 5000))
        + png_chunk(b"IEND", b"")
    )


def deflate_zeros(megabytes: int) -> bytes:
    """A raw deflate stream of about a kilobyte for each megabyte that it unpacks to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(b"\0" * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + b"\3\0"


def wrap_zlib(stream: bytes, megabytes: int) -> bytes:
    return b"\x78\x9c" + stream + struct.pack(">HH", megabytes * 2**20 % 65521, 1)


def resize_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims this size."""
    data = bytearray(encode(GREY, "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def make_bombs() -> dict[str, bytes]:
    """Small files that ask for a lot: memory, pixels, depth, or an endless loop."""
    # a gigabyte of zeros, as compressed data and inside a PNG
    gigabyte = deflate_zeros(1024)
    packed = wrap_zlib(gigabyte, 1024)
    start = png_chunk(b"IHDR", struct.pack(">LLBBBBB", 48, 64, 8, 0, 0, 0, 0))
    ends = png_chunk(b"IDAT", zlib.compress(b"\0" * 49 * 64)) + png_chunk(b"IEND", b"")
    # pictures whose headers claim an absurd size
    bmp = bytearray(encode(GREY, "BMP"))
    bmp[18:26] = struct.pack("<LL", 60000, 60000)
    upside = bytearray(encode(GREY, "BMP"))
    upside[22:26] = struct.pack("<l", -(2**31))
    deflated_tiff = bytearray(encode_tiff(packed, 48, 64, 8, 1))
    deflated_tiff[8 + 2 + 3 * 12 + 8] = 8  # compression: deflate
    # DICOM: 5,000 sequences in each other, a deflated gigabyte, RLE runs without end
    deep = dicom()
    nested = b"".join(
        struct.pack("<HH2sHLHHL", 0x08, 0x1140, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(5000)
    )
    syntax = b"1.2.840.10008.1.2.1\0"
    head = deep[: deep.index(b"\x08\0\x16\0")]
    meta = head.replace(
        b"UI" + struct.pack("<H", len(syntax)) + syntax,
        b"UI" + struct.pack("<H", 22) + b"1.2.840.10008.1.2.1.99",
    )
    meta = meta.replace(
        b"\2\0\0\0UL\4\0" + meta[140:144], b"\2\0\0\0UL\4\0" + struct.pack("<L", len(meta) - 144)
    )
    runs = struct.pack("<16L", 2, 64, 500_000, *[0] * 13) + b"\x81\0" * 500_000
    return {
        "claims-60000.png": patch_png(60000, 60000),
        "claims-4-billion.png": patch_png(2**31 - 1, 2**31 - 1),
        "claims-just-too-much.png": patch_png(8001, 8001),
        "unpacks-to-1-gb.png": patch_png(48, 64, packed),
        "large-and-black.png": patch_png(7900, 7900, wrap_zlib(deflate_zeros(60), 60)),
        "text.png": b"\x89PNG\r\n\x1a\n" + start + png_chunk(b"zTXt", b"k\0\0" + packed) + ends,
        "international-text.png": (
            b"\x89PNG\r\n\x1a\n" + start + png_chunk(b"iTXt", b"k\0\1\0\0\0" + packed) + ends
        ),
        "profile.png": b"\x89PNG\r\n\x1a\n" + start + png_chunk(b"iCCP", b"k\0\0" + packed) + ends,
        "claims-60000.bmp": bytes(bmp),
        "upside-down.bmp": bytes(upside),
        "claims-60000.tif": encode_tiff(b"\0" * 100, 60000, 60000, 8, 1),
        "claims-no-data.tif": encode_tiff(b"\0" * 100, 7000, 7000, 16, 1),
        "unpacks-to-1-gb.tif": bytes(deflated_tiff),
        "claims-65500.jpg": resize_jpeg(65500, 65500),
        "claims-no-data.jpg": resize_jpeg(7900, 7900),
        "claims-65535.dcm": dicom(Rows=65535, Columns=65535),
        "claims-no-data.dcm": dicom(Rows=7900, Columns=7900),
        "unpacks-to-1-gb.dcm": meta + gigabyte,
        "nested.dcm": head + nested,
        "nested-after.dcm": deep[: deep.index(b"\x08\0\x50\0")] + nested,
        "claims-65500-inside.dcm": encapsulated(resize_jpeg(65500, 65500), JPEG_BASELINE),
        "unpacks-to-64-mb-rle.dcm": dicom(
            syntax="1.2.840.10008.1.2.5", PixelData=encapsulate([runs])
        ),
        "claims-4-gb-element.dcm": (
            head + struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, 0xFFFFFFF0) + b"\0" * 50
        ),
    }


GROUPS = {
    "truncated": make_truncated,
    "nonsense": make_nonsense,
    "absurd": make_absurd,
    "bombs": make_bombs,
}


def assert_good_film_is_unharmed() -> None:
    np.testing.assert_array_equal(read_radiograph(GOOD).image, GOOD_IMAGE)


def test_the_good_files_are_good():
    for name, data in good_files().items():
        shape = (48, 64) if name == "grey.jpg" else (64, 48)  # its EXIF orientation is 6
        assert read_radiograph(data, name).image.shape == shape, name


def test_the_corpus_is_large():
    assert sum(len(make()) for make in GROUPS.values()) >= 400


@pytest.mark.parametrize("group", GROUPS)
def test_every_bad_file_is_refused_in_words_and_in_time(group, tmp_path, capfd):
    for number, (name, data) in enumerate(GROUPS[group]().items()):
        path = tmp_path / name
        path.write_bytes(data)
        start = time.perf_counter()
        try:
            film = read_radiograph(path)
        except RadiographError as error:
            message = str(error)
        else:
            pytest.fail(f"{name} was read: {film.provenance}, {film.image.shape}")
        assert time.perf_counter() - start < MOST_SECONDS, name
        assert message.startswith(f"{name}: "), message
        assert message.isprintable() and len(message) < 500, message
        if number % 20 == 0:
            assert_good_film_is_unharmed()
    assert_good_film_is_unharmed()
    assert capfd.readouterr().err == ""


MEASURE = """
import json, sys
from pathlib import Path
from rahelpers.films.radiograph import RadiographError
from rahelpers.films.reading import read_radiograph

def peak():  # of this program; getrusage also counts what its parent had
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

folder = Path(sys.argv[1])
for path in sorted((folder / "good").iterdir()):  # imports the libraries
    read_radiograph(path)
found = {"": peak()}
for path in sorted((folder / "bombs").iterdir()):
    try:
        read_radiograph(path)
    except RadiographError:
        pass
    found[path.name] = peak()
print(json.dumps(found))
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc"
)
def test_bombs_take_bounded_memory(tmp_path):
    names = ("deep-colour.png", "lzw.tif", "rle.dcm", "jpeg2000.dcm")
    good = {name: good_files()[name] for name in names}
    for folder, files in (("good", good), ("bombs", make_bombs())):
        (tmp_path / folder).mkdir()
        for name, data in files.items():
            (tmp_path / folder / name).write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    peaks = json.loads(done.stdout)
    print(peaks)
    assert max(peaks.values()) - peaks[""] < MOST_MEGABYTES, peaks


@pytest.mark.parametrize(
    "place, value",
    [(118, struct.pack("<L", 8)), (8, b"\xff\xff")],
    ids=["next directory is the same", "65535 entries"],
)
def test_a_tiff_that_leads_astray_after_its_film_is_still_that_film(place, value):
    data = bytearray(encode_tiff(GREY.tobytes(), 48, 64, 8, 1))
    data[place : place + len(value)] = value
    expected = read_radiograph(encode(GREY, "PNG")).image
    np.testing.assert_array_equal(read_radiograph(bytes(data)).image, expected)


def test_a_file_above_the_limit_is_not_read(tmp_path):
    path = tmp_path / "huge.dcm"
    with open(path, "wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room
    start = time.perf_counter()
    with pytest.raises(RadiographError, match="256 MB; expected at most 256 MB"):
        read_radiograph(path)
    assert time.perf_counter() - start < 0.5
    assert MAX_PIXELS * 2 <= MAX_BYTES  # a film of 16 bits fits


# --- names and places ---


@POSIX
@pytest.mark.parametrize(
    "make, words",
    [
        (lambda p: os.mkfifo(p), "a pipe, a socket or a device; expected an ordinary file"),
        (lambda p: p.mkdir(), "a folder; expected the file of one film"),
        (lambda p: p.symlink_to("/dev/zero"), "a device; expected an ordinary file"),
        (lambda p: p.symlink_to("/dev/stdin"), "film.png: "),
        (lambda p: p.symlink_to(p), "leads in a circle"),
        (lambda p: p.symlink_to("gone.png"), "leads to a file that is not there"),
        (lambda p: p.symlink_to(p.parent), "a folder"),
        (lambda p: None, "there is no such file"),
    ],
)
def test_what_is_not_an_ordinary_file_is_refused_without_waiting(make, words, tmp_path, alarm):
    make(tmp_path / "film.png")
    with pytest.raises(RadiographError, match=words):
        read_radiograph(tmp_path / "film.png")


@POSIX
def test_a_pipe_that_replaces_a_file_is_not_waited_for(tmp_path, alarm, monkeypatch):
    path, real = tmp_path / "film.png", os.open
    path.write_bytes(GOOD)

    def swap(target, *flags):
        path.unlink()
        os.mkfifo(path)
        monkeypatch.setattr(os, "open", real)
        return real(target, *flags)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(RadiographError, match="a pipe"):
        read_radiograph(path)


@POSIX
def test_links_to_films_are_followed(tmp_path):
    (tmp_path / "film.png").write_bytes(GOOD)
    (tmp_path / "link").symlink_to("film.png")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "link").image, GOOD_IMAGE)


@POSIX
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "film.png"
    path.write_bytes(GOOD)
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything

        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RadiographError, match="film.png: the file may not be read"):
        read_radiograph(path)


NAMES = [
    "two\nlines.png",
    "tab\there.png",
    "carriage\rreturn.png",
    'it\'s "quoted".png',
    "手のX線.png",
    "e\u0301.png",
    "\u202egnp.exe",
    " leading.png",
    "-rf.png",
    "%s {0} $HOME.png",
    "back\\slash.png",
    "x" * 250 + ".png",
    "\udcff\udcfe.png",
    "film.png\u2028next.png",
    "no_suffix",
    "...png",
]


@POSIX
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_odd_names(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(GOOD)
    np.testing.assert_array_equal(read_radiograph(path).image, GOOD_IMAGE)
    path.write_bytes(b"")
    with pytest.raises(RadiographError, match="the file is empty") as error:
        read_radiograph(path)
    assert str(error.value).isprintable() and len(str(error.value)) < 200
    str(error.value).encode()


@pytest.mark.parametrize(
    "name, words",
    [
        ("x" * 3000 + ".png", "too long"),
        ("nul\0here.png", "NUL"),
        ("gone/film.png", "no such file"),
        ("", "folder"),
        (".", "folder"),
    ],
)
def test_impossible_names(name, words, tmp_path):
    with pytest.raises(RadiographError, match=words) as error:
        read_radiograph(str(tmp_path) + "/" + name)
    assert len(str(error.value)) < 300 and str(error.value).isprintable()


# --- fuzz ---

FUZZ = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


EXTREMES = [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\1\0\0\0", b"\x80\0\0\0"]
STARTS = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"II*\0",
    b"MM\0*",
    b"BM",
    b"\0" * 128 + b"DICM",
    b"\2\0\0\0UL",
    b"\x08\0",
]


def assert_film_or_refusal(data: bytes) -> None:
    try:
        image = read_radiograph(data).image
    except RadiographError as error:
        assert str(error).isprintable()
        return
    assert image.ndim == 2 and image.dtype == np.float32
    assert np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1


@st.composite
def mutated(draw, suffixes: tuple[str, ...], apart: bool = False) -> bytes:
    """A good file with some bytes flipped, set, deleted, inserted, or copied from any file."""
    files = good_files()
    names = [n for n in sorted(files) if n.endswith(suffixes) and (n in APART) == apart]
    data = bytearray(files[draw(st.sampled_from(names))])
    for _ in range(draw(st.integers(1, 5))):
        place, size = draw(st.integers(0, max(len(data) - 1, 0))), draw(st.integers(1, 24))
        kind = draw(st.sampled_from(["flip", "set", "delete", "insert", "splice"]))
        if kind == "flip" and data:
            data[place] ^= 1 << (size % 8)
        elif kind == "set":
            data[place : place + 4] = draw(st.sampled_from(EXTREMES))
        elif kind == "delete":
            del data[place : place + size]
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=24))
        else:
            other = files[draw(st.sampled_from(sorted(files)))]
            data[place : place + size] = other[place % len(other) :][:size]
    return bytes(data)


@pytest.fixture(scope="module")
def nothing_printed():
    """During the whole fuzz nothing may reach stderr, through Python or past it."""
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        yield
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        file.seek(0)
        assert file.read() == b""


@settings(FUZZ, max_examples=300)
@given(st.binary(max_size=600), st.sampled_from(STARTS))
def test_random_bytes(nothing_printed, data, start):
    assert_film_or_refusal(start + data)


@settings(FUZZ, max_examples=600)
@given(mutated((".png", ".jpg", ".tif", ".bmp")))
def test_mutated_pictures(nothing_printed, data):
    assert_film_or_refusal(data)


@settings(FUZZ, max_examples=600)
@given(mutated((".dcm",)))
def test_mutated_dicom(nothing_printed, data):
    assert_film_or_refusal(data)


@settings(FUZZ, max_examples=15)  # each takes a process
@given(mutated((".dcm",), apart=True))
def test_mutated_dicom_whose_decoder_has_its_own_process(nothing_printed, data):
    assert_film_or_refusal(data)


def test_a_decoder_that_dies_takes_only_its_film_with_it(monkeypatch):
    monkeypatch.setattr("rahelpers.films._dicom.GDCM_PROGRAM", "import os; os.abort()")
    with pytest.raises(RadiographError, match="hand.dcm: the compressed pixels cannot be decoded"):
        read_radiograph(good_files()["jpeg-ls.dcm"], "hand.dcm")
    assert_good_film_is_unharmed()
