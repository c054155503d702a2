"""Bad tables of the folder source: each ends in a message, and a bad film costs only itself."""

import os
from pathlib import Path

import numpy as np
import pytest

from rahelpers.core.config import make_config
from rahelpers.data.sources.registry import list_films
from tests.films.files import GOOD, GOOD_IMAGE, POSIX, dicom

HEAD = "image_id,patient,ra\n"
ROWS = "a,1,0\nb,2,1\nc,3,0\nd,4,1\n"
FILE_HEAD = "image_id,patient,ra,file\n"


def read_folder(tmp_path: Path, table: str | bytes, **settings_: str) -> dict[str, str]:
    """Read four good films by this table: image_id -> fault, '' where the film was read."""
    images = tmp_path / "images"
    images.mkdir(exist_ok=True)
    for name in "abcd":
        (images / f"{name}.png").write_bytes(GOOD)
    (tmp_path / "table.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    columns = {"patient_column": "patient", "label_column": "ra", "positive": "1"}
    config = make_config(
        source="folder",
        images=str(images),
        table=str(tmp_path / "table.csv"),
        run_dir=str(tmp_path / "run"),
        **columns,
        **settings_,
    )
    faults = {}
    for film in list_films(config):
        item = film.read()
        faults[item.row["image_id"]] = item.fault
        assert bool(item.fault) == (item.radiograph is None)
        if not item.fault:
            np.testing.assert_array_equal(item.radiograph.image, GOOD_IMAGE)
    return faults


BAD_TABLES = {
    "duplicate ids": (HEAD + ROWS + "a,5,1\n", "image_id must be unique.*row 6 has 'a'"),
    "no id": (HEAD + ROWS + ",5,1\n", "image_id must be unique and not empty: row 6"),
    "no patient": (HEAD + ROWS + "e,,1\n", "patient is empty in row 6"),
    "short row": (HEAD + ROWS + "e\n", "row 6 has 1 values, the header 3"),
    "long row": (HEAD + ROWS + "e,5,1,9,9\n", "table.csv.*row 6 has 5 values, the header 3"),
    "open quote": (HEAD + '"a,1,0\nb,2,1\n', "table.csv"),
    "UTF-16": ((HEAD + ROWS).encode("utf-16"), "table.csv"),
    "UTF-32": ((HEAD + ROWS).encode("utf-32"), "table.csv"),
    "Latin-1": ((HEAD + ROWS + "ä,5,1\n").encode("latin-1"), "table.csv"),
    "mixed encodings": (
        (HEAD + ROWS + "ö,5,1\n").encode() + "ä,6,1\n".encode("latin-1"),
        "table.csv",
    ),
    "only NUL bytes": (b"\0" * 300, "byte 0 is NUL"),
    "NUL before the header": (b"\0" + (HEAD + ROWS).encode(), "byte 0 is NUL"),
    "a picture": (GOOD, "table.csv"),
    "empty": ("", "table.csv"),
    "blank lines": ("\n\n\n", "table.csv"),
    "header only": (HEAD, "."),
    "semicolons": ((HEAD + ROWS).replace(",", ";"), "is not a column of table.csv"),
    "one class": (HEAD + "a,1,0\nb,2,0\n", "one class"),
    "words for labels": (
        (HEAD + ROWS).replace("b,2,1", "b,2,yes").replace("d,4,1", "d,4,no"),
        "one class|positive",
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_refused_in_words(case, tmp_path, alarm):
    table, words = BAD_TABLES[case]
    with pytest.raises(ValueError, match=words) as error:
        read_folder(tmp_path, table)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["UTF-8", "with byte order mark"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_good_tables_are_read(mark, line_end, tmp_path):
    faults = read_folder(tmp_path, mark + (HEAD + ROWS).replace("\n", line_end).encode())
    assert faults == dict.fromkeys("abcd", "")


def test_a_missing_file_or_label_costs_only_its_own_film(tmp_path):
    faults = read_folder(tmp_path, HEAD + ROWS.replace("c,3,0", "c,3,") + "gone,5,1\n")
    assert faults.pop("gone") and faults.pop("c")
    assert faults == dict.fromkeys("abd", "")


@POSIX
@pytest.mark.parametrize("by_file", [False, True], ids=["by id", "by file"])
def test_bad_films_cost_only_themselves(by_file, tmp_path, alarm):
    images = tmp_path / "images"
    images.mkdir()
    (images / "loop.png").symlink_to("loop.png")
    (images / "gone.png").symlink_to("nowhere")
    (images / "zero.png").symlink_to("/dev/zero")
    (images / "round").symlink_to(".")  # a folder that holds itself
    os.mkfifo(images / "fifo.png")
    (images / "folder.png").mkdir()
    (images / "two\nlines.png").write_bytes(b"")
    (images / "empty.png").write_bytes(b"")
    (images / "cut.png").write_bytes(GOOD[:200])
    (images / "bomb.dcm").write_bytes(dicom(Rows=65535, Columns=65535))
    bad = ["loop", "gone", "zero", "fifo", "folder", "empty", "cut", "bomb", '"two\nlines"']
    if by_file:
        bad = [name for name in bad if name.isalpha() and name != "loop"]
    rows = ROWS + "".join(f"{name},{10 + i},{i % 2}\n" for i, name in enumerate(bad))
    if by_file:
        rows = "".join(
            f"{name},{i},{i % 2},{name}.png\n" for i, name in enumerate(["a", "b", "c", "d", *bad])
        )
    faults = read_folder(
        tmp_path,
        (FILE_HEAD if by_file else HEAD) + rows,
        **({"file_column": "file"} if by_file else {}),
    )
    assert [name for name, fault in faults.items() if not fault] == list("abcd")
    assert len(faults) == 4 + len(bad)
    assert all(fault.isprintable() for fault in faults.values() if fault)


@pytest.mark.parametrize(
    "place",
    [
        "../secret.png",
        "../../../../../../etc/hostname",
        "{outside}/secret.png",
        "/dev/zero",
        "./../images/../secret.png",
        "..",
        "/",
    ],
)
def test_a_path_that_leads_out_of_the_folder_is_not_followed(place, tmp_path, alarm):
    (tmp_path / "secret.png").write_bytes(GOOD)
    table = FILE_HEAD + f"a,1,0,{place.format(outside=tmp_path)}\nb,2,1,b.png\nc,3,0,c.png\n"
    faults = read_folder(tmp_path, table, file_column="file")
    assert faults["a"] and not faults["b"] and not faults["c"]
