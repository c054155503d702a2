"""Spellings in tables: a cell that is not used as it stands is said, and twins are refused."""

import re
import unicodedata

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rahelpers.core.config import make_config
from rahelpers.data.sources.folder import describe_table, make_labels, read_boxes, read_film_table
from rahelpers.data.sources.registry import describe_source, list_films, source_fingerprint
from rahelpers.data.sources.spelling import find_twins, fold
from tests.films.files import GOOD

FULL_WIDTH = {c: c + 0xFEE0 for c in range(0x21, 0x7F)}
WORDS = {  # another spelling of a word
    "upper case": str.upper,
    "lower case": str.lower,
    "blank behind": lambda w: w + " ",
    "blank before": lambda w: " " + w,
    "no-break space": lambda w: w + "\u00a0",
    "narrow no-break space": lambda w: w + "\u202f",
    "two blanks inside": lambda w: w.replace(" ", "  "),
    "decomposed": lambda w: unicodedata.normalize("NFD", w),
    "full width": lambda w: w.translate(FULL_WIDTH),
    "zero width behind": lambda w: w + "\u200b",
    "zero width inside": lambda w: w[:1] + "\u200d" + w[1:],
    "byte order mark": lambda w: "\ufeff" + w,
    "soft hyphen": lambda w: w[:1] + "\u00ad" + w[1:],
    "right to left": lambda w: w + "\u200f",
    "Hangul filler": lambda w: w + "\u3164",
    "other dash": lambda w: w.replace("-", "\u2011"),
    "quotes": lambda w: f"'{w}'",
}
NUMBERS = {  # another spelling of a whole number
    "zero before": lambda w: "0" + w,
    "two zeros before": lambda w: "00" + w,
    "point zero": lambda w: w + ".0",
    "comma zero": lambda w: w + ",0",
    "plus": lambda w: "+" + w,
    "full width": lambda w: w.translate(FULL_WIDTH),
    "blank behind": lambda w: w + " ",
    "apostrophe": lambda w: "'" + w,
}
words = st.text(st.sampled_from("abzRAéüßñ -"), min_size=2, max_size=8).filter(
    lambda w: w.strip(" -") == w and len(w) > 1
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Eight films f0 to f7."""
    folder = tmp_path_factory.mktemp("twins")
    (folder / "films").mkdir()
    for i in range(8):
        (folder / "films" / f"f{i}.png").write_bytes(GOOD)
    return folder


def make(folder, positive="RA", films="films", boxes=None, **columns):
    """Configuration of a table of eight films; `columns` replace its columns or add to them."""
    usual = {
        "image_id": [f"f{i}" for i in range(8)],
        "patient": [f"p{i}" for i in range(8)],
        "dx": ["RA"] * 4 + ["hc"] * 4,
    }
    pd.DataFrame(usual | columns).to_csv(folder / "t.csv", index=False)
    options = {
        key: name
        for key, name in (
            *(("age_column", "age"), ("sex_column", "sex"), ("laterality_column", "side")),
            *(("centre_column", "place"), ("file_column", "file")),
        )
        if name in columns
    }
    if boxes is not None:
        pd.DataFrame(
            [(name, "MCP2", 0.3, 0.3, 0.4, 0.4) for name in boxes],
            columns=["image_id", "joint", "x0", "y0", "x1", "y1"],
        ).to_csv(folder / "boxes.csv", index=False)
        options["boxes"] = str(folder / "boxes.csv")
    return make_config(
        source="folder",
        images=str(folder / films),
        table=str(folder / "t.csv"),
        patient_column="patient",
        label_column="dx",
        positive=positive,
        run_dir=str(folder / "run"),
        **options,
    )


def twins(kinds):
    return st.sampled_from(sorted(kinds)).map(kinds.get)


@pytest.mark.parametrize("column", ["dx", "patient", "place"])
@settings(max_examples=60, deadline=None)
@given(word=words, change=twins(WORDS))
def test_another_spelling_of_a_word_is_refused_or_counts_as_the_word(place, column, word, change):
    other = change(word)
    assume(other != word)
    cells = [word, other, *([word] * 2), *(["zz"] * 4)]
    if column == "patient":
        cells = [word, other, *(f"q{i}" for i in range(6))]
    config = make(place, **{"positive": word} if column == "dx" else {}, **{column: cells})
    try:
        table = read_film_table(config)
    except ValueError as error:
        assert "differ only in" in str(error) and len(str(error)) < 500
        return
    made = {"dx": "label", "patient": "patient_id", "place": "centre"}[column]
    assert table[made].iloc[0] == table[made].iloc[1], "a twin became another value"
    assert any(repr(other) in note for note in describe_table(config)), "without a word"


@pytest.mark.parametrize("column", ["dx", "patient", "place"])
@settings(max_examples=40, deadline=None)
@given(number=st.integers(1, 10**6).map(str), change=twins(NUMBERS), with_word=st.booleans())
def test_another_spelling_of_a_number_is_refused_or_counts_as_the_number(
    place, column, number, change, with_word
):
    other = change(number)
    cells = [number, other, number, number, "0", "0", "0", "n.d." if with_word else "0"]
    if column == "patient":
        cells = [number, other, *(f"q{i}" for i in range(6))]
    config = make(place, **{"positive": number} if column == "dx" else {}, **{column: cells})
    try:
        table = read_film_table(config)
    except ValueError as error:
        assert "differ only in" in str(error)
        return
    made = {"dx": "label", "patient": "patient_id", "place": "centre"}[column]
    assert table[made].iloc[0] == table[made].iloc[1], "a twin became another value"
    assert any(repr(other) in note for note in describe_table(config)), "without a word"


@pytest.mark.parametrize("column", ["sex", "side", "age"])
@settings(max_examples=60, deadline=None)
@given(change=twins(WORDS | {"comma": lambda w: w.replace(".", ","), "DICOM": lambda w: w + "Y"}))
def test_another_spelling_in_a_clinical_column_is_understood_and_said_or_refused(
    place, column, change
):
    word, made = {"sex": ("F", "sex"), "side": ("L", "laterality"), "age": ("63.5", "age")}[column]
    other = change(word)
    assume(other != word)
    config = make(place, **{column: [word, other, *([""] * 6)]})
    try:
        table = read_film_table(config)
    except ValueError as error:
        assert f"column {column}: row 3 has" in str(error)
        return
    assert table[made].iloc[0] == table[made].iloc[1]
    assert any(repr(other) in note for note in describe_table(config)), "without a word"


@pytest.mark.parametrize("change", sorted(WORDS | NUMBERS))
def test_each_kind_of_twin_is_found_and_both_spellings_are_shown(change):
    word = "7" if change in NUMBERS and change not in WORDS else "Mé lo-A"
    other = (WORDS | NUMBERS)[change](word) if word == "7" else WORDS[change](word)
    (found,) = find_twins(pd.Series([word, "x", other], index=[0, 1, 4]))
    assert "(row 2)" in found and "(row 6)" in found and "differ only in" in found
    shown = re.findall(r"""(['"].+?['"]) \(row""", found)
    assert len(shown) == 2 and shown[0] != shown[1], "a person could not tell them apart"


@given(words, words)
def test_names_that_differ_otherwise_are_no_twins(one, other):
    plain = [" ".join(unicodedata.normalize("NFKC", w).casefold().split()) for w in (one, other)]
    assert (fold(one) == fold(other)) == (plain[0] == plain[1])


LABELS = {
    "numbers beside a word": (["1", "1 ", "1.0", "01", "0", "0", "n.d.", "0"], "1", "11110000"),
    "numbers, rule as a fraction": (
        ["1", "1 ", "1.0", "01", "0", "0", "0", "0"],
        "1.0",
        "11110000",
    ),
    "TRUE": (["TRUE"] * 4 + ["FALSE"] * 4, "TRUE", "11110000"),
    "true": (["true"] * 4 + ["false"] * 4, "true", "11110000"),
    "WAHR": (["WAHR"] * 4 + ["FALSCH"] * 4, "WAHR", "11110000"),
    "no value": (["RA", "NA", "#N/A", "", "hc", "\u200b", "nan", "NULL"], "RA", "1---0---"),
    "a label called NA": (["NA"] * 4 + ["hc"] * 4, "NA", "11110000"),
    "dates": (["2020-01-02"] * 4 + ["2020-01-03"] * 4, "2020-01-02", "11110000"),
    "1e5": (["1e5"] * 4 + ["100001"] * 4, "100000", "11110000"),
    "decimal commas": (["1,0"] * 4 + ["0,0"] * 4, "1,0", "11110000"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_are_what_a_person_means(case, place):
    cells, positive, expected = LABELS[case]
    table = read_film_table(make(place, positive, dx=cells))
    assert "".join("-" if pd.isna(v) else str(int(v)) for v in table["label"]) == expected


def test_what_each_label_was_made_from_is_said(place):
    notes = describe_source(make(place, "1", dx=["1", "1 ", "1.0", "01", "0", "NA", "n.d.", ""]))
    text = "\n".join(notes)
    assert "4 rows are positive ('1': 1, '1 ': 1, '1.0': 1, '01': 1)" in text
    assert "2 rows are negative ('0': 1, 'n.d.': 1)" in text
    assert "2 rows are without a label, left out ('NA': 1, empty: 1)" in text
    assert "2 of 8 films are left out before they are read" in text
    numbers = describe_source(make(place, ">=2", dx=["1", "2", "3", "1", "2.5", "0", "", "9"]))
    assert numbers[0].endswith("4 rows are positive (2 to 9)")


@pytest.mark.parametrize(
    ("cells", "positive", "words"),
    [
        (
            ["RA", "ra", "Ra", "RA\u200b"] + ["hc"] * 4,
            "RA",
            r"'RA' \(--positive\) and 'ra' \(row 3\)",
        ),
        (["RA"] * 4 + ["hc"] * 4, "ra", r"'ra' \(--positive\) and 'RA' \(row 2\)"),
        (["RA"] * 4 + ["hc"] * 3 + ["HC"], "RA", r"'hc' \(row 6\) and 'HC' \(row 9\)"),
        (["TRUE", "WAHR"] * 2 + ["FALSE"] * 4, "TRUE", "'WAHR'"),
        (["1", "1,0"] * 2 + ["0"] * 4, "1", "the way a number is written"),
        (["1,5", "2,5"] * 4, ">=2", r"needs numbers.* 1,5 \(8 cells are not numbers; decimals"),
    ],
)
def test_labels_that_could_mean_two_things_are_refused(cells, positive, words, place):
    with pytest.raises(ValueError, match=words):
        list_films(make(place, positive, dx=cells))


@pytest.mark.parametrize("name", ["NA", "None", "nan", "null", "N/A", "#N/A", "007", "1e5", "TRUE"])
def test_names_stay_as_they_are(name, place, tmp_path):
    (tmp_path / "films").mkdir()
    for film in ("f1", "f2", "f5", name.replace("/", "-")):
        (tmp_path / "films" / f"{film}.png").write_bytes(GOOD)
    cells = {
        "image_id": [name.replace("/", "-"), "f1", "f2", "f5"],
        "patient": [name, "a", "b", "c"],
    }
    config = make(tmp_path, dx=["RA", "RA", "hc", "hc"], place=[name, "x", "x", "x"], **cells)
    film = list_films(config)[0]
    assert film.row["patient_id"] == film.row["centre"] == name and not film.fault
    said = any("used as names" in note for note in describe_source(config))
    assert said == (name in ("NA", "None", "nan", "null", "N/A"))


TABLES = {
    "empty rows at the end": "image_id,patient,dx\nf0,a,RA\n,,\nf1,b,hc\n, ,\u00a0\n\n,,\n",
    "empty columns at the end": "image_id,patient,dx,,\nf0,a,RA,,\nf1,b,hc,, \n",
    "blank lines": "\n\nimage_id,patient,dx\n\nf0,a,RA\n\nf1,b,hc\n",
    "blanks around names of columns": " image_id ,patient\u00a0,\ufeffdx\nf0,a,RA\nf1,b,hc\n",
    "blanks around ids": "image_id,patient,dx\nf0 ,a,RA\n f1,b,hc\n",
    "quotes": '"image_id","patient","dx"\n"f0","a","RA"\n"f1","b","hc"\n',
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_as_spreadsheets_leave_them_are_read(case, place):
    config = make(place)
    (place / "t.csv").write_text(TABLES[case], encoding="utf-8")
    films = list_films(config)
    assert [(f.row["image_id"], f.row["label"], f.fault) for f in films] == [
        ("f0", 1, ""),
        ("f1", 0, ""),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,patient,dx\nf0,a,RA\n\n\nf1,,hc\n", "patient is empty in row 5"),
        (
            "image_id,patient,dx,\nf0,a,RA,\nf1,b,hc,x\n",
            "column 4 has no name in row 1, but 'x' in",
        ),
        ("image_id,patient,dx,dx \nf0,a,RA,1\nf1,b,hc,2\n", "two columns are called 'dx'"),
        ("image_id,patient,dx,age,Age\nf0,a,RA,1,2\nf1,b,hc,2,3\n", "could both be the age"),
        ("image_id;patient;age\nf0;a;63,5\n", "save it with commas"),
        ("PK\x03\x04xl/workbook.xml", "Excel workbook"),
        ("image_id,patient,dx\nf0,a,RA\nf0 ,b,hc\n", "must be unique.*row 3 has 'f0'"),
    ],
)
def test_tables_that_would_mislead_are_refused(text, words, place):
    config = make(place)
    (place / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        list_films(config)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([f"f{i}.png" for i in range(8)], r"'f0.png', the table 'f0'.*8 of 8 boxes \(8 films\)"),
        (["f0", "F1"], "row 3 has image_id 'F1', the table 'f1'"),
        (["f0", "f1\u200b"], "the table 'f1'"),
        (["g0", "g1"], "2 of 2 boxes.*have no film in the table; the first has image_id 'g0'"),
    ],
)
def test_boxes_of_films_that_the_table_does_not_have_are_refused(boxes, words, place):
    with pytest.raises(ValueError, match=words):
        list_films(make(place, boxes=boxes))


def test_boxes_of_a_larger_cohort_are_counted_and_ids_are_trimmed(place):
    config = make(place, boxes=["f0 ", "f1", "g0", "g0"])
    assert [len(film.joints) for film in list_films(config)[:3]] == [1, 1, 0]
    (note,) = [note for note in describe_source(config) if note.startswith("boxes")]
    assert (
        note
        == "boxes: 2 of 4 boxes (1 films) have no film in the table and are not used, such as 'g0'"
    )
    assert len(read_boxes(config)) == 4


# ---- files


def lay(folder, names):
    """A folder of films with these names."""
    (folder / "films").mkdir()
    for name in names:
        (folder / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "films" / name).write_bytes(GOOD)
    return folder


def found(config):
    return [film.path and film.path.name for film in list_films(config)]


UIDS = [f"1.2.840.1136.{i}" for i in range(8)]
FILES = {
    "no suffix": ([f"IM{i:06}" for i in range(8)], [f"IM{i:06}" for i in range(8)]),
    "no suffix, in a folder": ([f"S1/IM{i}" for i in range(8)], [f"S1/IM{i}" for i in range(8)]),
    "no suffix, Windows path": ([f"S1/IM{i}" for i in range(8)], [f"S1\\IM{i}" for i in range(8)]),
    "no suffix, from the folder above": (
        [f"IM{i}" for i in range(8)],
        [f"films/IM{i}" for i in range(8)],
    ),
    "UID": ([f"{uid}.png" for uid in UIDS], UIDS),
    "UID.dcm": ([f"{uid}.dcm" for uid in UIDS], UIDS),
    "UID without suffix": (UIDS, UIDS),
    "UID from the folder above": ([f"{uid}.png" for uid in UIDS], [f"films/{uid}" for uid in UIDS]),
    "decomposed on disk": (
        [unicodedata.normalize("NFD", f"é{i}.png") for i in range(8)],
        [f"é{i}.png" for i in range(8)],
    ),
    "decomposed in the table": (
        [f"ü/é{i}.png" for i in range(8)],
        [unicodedata.normalize("NFD", f"ü/é{i}.png") for i in range(8)],
    ),
    "blanks at the ends": ([f"a{i}.png" for i in range(8)], [f" a{i}.png\u00a0" for i in range(8)]),
}


@pytest.mark.parametrize("case", FILES)
def test_files_are_found_and_a_changed_one_changes_the_fingerprint(case, tmp_path):
    names, cells = FILES[case]
    config = make(lay(tmp_path, names), file=cells)
    assert found(config) == [name.split("/")[-1] for name in names]
    before = source_fingerprint(config)
    assert source_fingerprint(config) == before
    (tmp_path / "films" / names[5]).write_bytes(GOOD + b"more")
    assert source_fingerprint(config) != before


@pytest.mark.parametrize("ids", [UIDS, [f"IM{i}" for i in range(8)]], ids=["UID", "no suffix"])
def test_films_are_found_by_an_id_without_suffix(ids, tmp_path):
    suffix = ".dcm" if ids is UIDS else ""
    names = [f"{name}{suffix}" for name in ids]
    config = make(lay(tmp_path, names), image_id=ids)
    assert found(config) == names


def test_other_files_in_the_folder_are_no_films_and_change_nothing(place, tmp_path):
    names = [*(f"f{i}.png" for i in range(8)), "f0.txt", "notes"]
    config = make(lay(tmp_path, names))
    before = source_fingerprint(config)
    (tmp_path / "films" / "notes").write_bytes(b"other")
    assert found(config) == names[:8] and source_fingerprint(config) == before


def test_a_path_tells_two_films_of_one_name_apart(tmp_path):
    names = [f"{'ab'[i % 2]}/{i // 2}.png" for i in range(8)]
    config = make(lay(tmp_path, names), file=[f"films/{name}" for name in names])
    assert [f.row["file"] for f in list_films(config)] == names


def test_links_out_of_the_folder_are_not_followed_and_said(tmp_path):
    folder = lay(tmp_path, [])
    (folder / "store").mkdir()
    for i in range(8):
        (folder / "store" / f"f{i}.png").write_bytes(GOOD)
        (folder / "films" / f"f{i}.png").symlink_to(folder / "store" / f"f{i}.png")
    for more in ({}, {"file": [f"f{i}.png" for i in range(8)]}):
        with pytest.raises(ValueError, match="8 could not be used.*a link out of the image folder"):
            list_films(make(folder, **more))
    (folder / "films" / "f0.png").unlink()
    (folder / "films" / "f0.png").write_bytes(GOOD)
    (folder / "store" / "f1.png").unlink()
    for more in ({}, {"file": [f"f{i}.png" for i in range(8)]}):
        config = make(folder, **more)
        faults = [film.fault for film in list_films(config)]
        assert not faults[0] and "git annex get" in faults[1] and "link out of" in faults[2]
        assert any(n.startswith("7 of 8 films are left out") for n in describe_source(config))
    assert found(make(folder, films="store", file=[f"f{i}" for i in range(8)]))[2] == "f2.png"


def test_two_ids_that_mean_one_film_are_refused(tmp_path):
    ids = ["é.png", unicodedata.normalize("NFD", "é.png"), *(f"f{i}.png" for i in range(6))]
    with pytest.raises(ValueError, match="the Unicode form of a letter"):
        list_films(make(lay(tmp_path, ids), image_id=ids))


def test_a_name_spelled_otherwise_is_named(place):
    config = make(place, image_id=["F0", *(f"f{i}" for i in range(1, 8))])
    assert "'f0.png' is spelled otherwise" in list_films(config)[0].fault
    with pytest.raises(ValueError, match=r"none of the 8 rows.*'g0'.*called 'f0.png'"):
        list_films(make(place, image_id=[f"g{i}" for i in range(8)]))


def test_labels_of_numbers_need_no_text():
    assert make_labels(pd.Series([1.0, 0.0, None, 1e300]), "1").tolist()[:2] == [1, 0]
