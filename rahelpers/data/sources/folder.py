"""A folder of films with a table: the source for a researcher's own films."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from rahelpers.core.config import RunConfig, near_match
from rahelpers.core.store import sha256_of
from rahelpers.data.sources.film import (
    CORNERS,
    JOINT_COLUMNS,
    JOINT_SCHEMA,
    FilmFile,
    first_fault,
    no_joints,
)
from rahelpers.data.sources.spelling import (
    MOST_EXAMPLES,
    describe_changes,
    fold,
    is_blank,
    refuse_twins,
    spell,
)
from rahelpers.data.sources.tables import other_comma, read_checked_csv
from rahelpers.data.sources.walk import find_files, is_inside, listing_hash, text_of
from rahelpers.data.sources.words import NOT_KNOWN, read_ages, read_sex, read_side
from rahelpers.films.radiograph import MOST_NAME, quote_name

MOST_DIGITS = 300  # of a number: float64 holds 308
MOST_VALUES = 8  # of a label column that are listed
OPERATORS = (">=", "<=", "==", ">", "<", "=")  # of a label rule; the longer ones first
COLUMN_KEYS = (  # the options that name a column of the table
    *("id_column", "patient_column", "label_column", "file_column", "laterality_column"),
    *("centre_column", "age_column", "sex_column"),
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")
# A label cell that holds one of these has no label: programs write them into cells without a value.
# A spreadsheet's faults (#N/A, #VALUE!) are such cells too.
NO_LABEL = ("", "na", "n/a", "<na>", "nan", "-nan", "null", "none", "nat")
SPREADSHEET_FAULT = r"#[\w/]+[!?]?"
# Spreadsheets write these words in the language of their user.
TRUTHS = dict.fromkeys(("wahr", "vrai", "verdadero", "vero", "waar"), "true") | dict.fromkeys(
    ("falsch", "faux", "falso", "onwaar"), "false"
)


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Hashes of the tables, and one of the names, sizes and times of the films that they name."""
    films = [path for path in read_film_table(config)["path"] if path is not None]
    found = {
        "table": sha256_of(Path(config.table)),
        "images": listing_hash(films, Path(config.images).resolve()),
    }
    return found | ({"boxes": sha256_of(Path(config.boxes))} if config.boxes else {})


def parse_rule(positive: str) -> tuple[str, str]:
    """Operator and operand of a label rule: '>=120' -> ('>=', '120'); 'M' -> ('==', 'M').

    Raises
    ------
    ValueError
        If the rule has no operand.
    """
    rule = positive.strip()
    operator = next((one for one in OPERATORS if rule.startswith(one)), "")
    operand = rule.removeprefix(operator).strip()
    if not operand:
        raise ValueError(
            f"positive={positive!r}: expected a value such as 'M' or a threshold such as '>=120'"
        )
    return "==" if operator in ("", "=") else operator, operand


def make_labels(values: pd.Series, positive: str) -> pd.Series:
    """Make labels 0 and 1 from a column and a rule; missing values stay missing.

    Blanks at the ends of a cell do not count, and where rule and cell are numbers, they are
    compared as numbers: 1, 1.0 and 01 are one label.

    Parameters
    ----------
    values : Series
        Text or numbers. Empty cells, and words of programs for 'no value' (NA, NaN, NULL, None,
        #N/A), are missing values unless the rule asks for them.
    positive : str
        A rule as `parse_rule` takes it: which values are positive.

    Returns
    -------
    Series of float
        1, 0, or NaN where the value is missing.

    Raises
    ------
    ValueError
        If a threshold is applied to words, the rule puts every film into one class, or one value is
        spelled in two ways (RA and ra).

    Examples
    --------
    >>> import pandas as pd
    >>> from rahelpers.data.sources.folder import make_labels
    >>> make_labels(pd.Series(["1", "1.0 ", "0", "n.d.", ""]), "1").tolist()
    [1.0, 1.0, 0.0, 0.0, nan]
    """
    operator, operand = parse_rule(positive)
    cells = _trim_labels(values, operand)
    numbers, threshold = _numbers(cells), _numbers(pd.Series([operand])).iloc[0]
    words = cells[cells.notna() & numbers.isna()]
    if operator == "==":
        # the rule is a spelling too; numbers are one label however they are written
        asked = pd.Series([operand], index=["--positive"])
        spelled = pd.concat([asked, cells.dropna().astype(str)])
        refuse_twins("label", _one_spelling(spelled, _numbers(spelled)), _fold_label)
        hit = (cells.astype(str) == operand) | (numbers == threshold)
    else:
        if np.isnan(threshold):
            raise ValueError(f"positive={positive!r}: expected a number after {operator}")
        if len(words):
            raise ValueError(
                f"positive={positive!r} needs numbers, but the label column holds"
                f" {quote_name(str(words.iloc[0]))} ({len(words)} cells are not numbers;"
                " decimals have a point, and a film without a label has an empty cell)"
            )
        compare = {">=": numbers.ge, "<=": numbers.le, ">": numbers.gt, "<": numbers.lt}
        hit = compare[operator](threshold)
    labels = hit.astype(float).where(cells.notna())
    if labels.dropna().nunique() < 2:
        seen = list(map(str, pd.unique(cells.dropna())[:5]))
        raise ValueError(
            f"positive={positive!r} puts every film into one class; the label column holds:"
            f" {', '.join(seen)[:MOST_NAME]} …"
        )
    return labels


def _trim_labels(values: pd.Series, operand: str) -> pd.Series:
    """Label cells without blanks at their ends; None where there is no label."""

    def trim(value: object) -> object:
        if not isinstance(value, str):
            return None if pd.isna(value) else value
        text = value.strip()
        is_missing = fold(text) in NO_LABEL or re.fullmatch(SPREADSHEET_FAULT, text)
        return None if is_missing and text != operand else text

    return values.astype(object).map(trim)


def _one_spelling(cells: pd.Series, numbers: pd.Series) -> pd.Series:
    """Label cells with one spelling for each number."""
    return cells.where(numbers.isna(), numbers.map("{:.15g}".format))


def _fold_label(text: str) -> str:
    folded = fold(text)
    return TRUTHS.get(folded, folded)


def describe_labels(column: str, values: pd.Series, positive: str) -> list[str]:
    """Say which values of a label column are positive, which negative, and which no label.

    Parameters
    ----------
    column : str
    values : Series of str
    positive : str

    Returns
    -------
    list of str
        One sentence per kind of label.
    """
    labels = make_labels(values, positive)
    is_equal = parse_rule(positive)[0] == "=="
    said = []
    for label, words in ((1, "positive"), (0, "negative"), (None, "without a label, left out")):
        cells = values[labels.isna() if label is None else labels == label]
        numbers = _numbers(cells.map(str.strip))
        if cells.empty:
            continue
        if not is_equal and label is not None:
            held = f"{numbers.min():g} to {numbers.max():g}"
        else:
            counts = cells.map(
                lambda cell: "empty" if is_blank(cell) else repr(cell[:MOST_NAME])
            ).value_counts()
            held = ", ".join(f"{cell}: {n}" for cell, n in counts.iloc[:MOST_VALUES].items())
            n_more = len(counts) - MOST_VALUES
            held += f", and {n_more} more spellings" if n_more > 0 else ""
        said.append(f"column {column}, rule {positive}: {len(cells)} rows are {words} ({held})")
    return said


def _numbers(values: pd.Series) -> pd.Series:
    """The numbers of a column; NaN for words, for infinity, and for what no float can hold."""
    try:
        numbers = pd.to_numeric(values, errors="coerce")
    except OverflowError:  # one whole number of hundreds of digits, and pandas gives up on them all
        short = values.where(values.map(lambda value: len(str(value)) < MOST_DIGITS))
        numbers = pd.to_numeric(short, errors="coerce")
    return numbers.astype(float).where(np.isfinite(numbers.astype(float)))


def read_film_table(config: RunConfig) -> pd.DataFrame:
    """Read and check the table of the folder source.

    Returns
    -------
    DataFrame
        The table's own columns as text, and: image_id, patient_id, path (or None), why (there is no
        path), label (0, 1, or NaN where the table has none), label_value (what it was made from),
        condition, laterality, centre, age, sex.

    Raises
    ------
    ValueError
        If a folder, file or column is missing, ids are not unique, the labels do not make two
        classes, a name is spelled in two ways, a cell of age, sex or side is not understood, or no
        row has a film.
    """
    table, _ = _read_cells(config)
    # which file: last, because it is the only part that looks at the disk
    table["path"], table["why"] = _find_films(table, config)
    if config.max_films and len(table) > config.max_films:
        table = table.sample(config.max_films, random_state=config.seed).sort_index()
    return table


def describe_table(config: RunConfig) -> list[str]:
    """Say how the tables are read: labels, and every cell that is not used as it stands.

    Returns
    -------
    list of str
        One sentence per kind: with a few examples, and the number of all.
    """
    table, notes = _read_cells(config)
    return notes + (_match_boxes(read_boxes(config), table, config)[1] if config.boxes else [])


def _read_cells(config: RunConfig) -> tuple[pd.DataFrame, list[str]]:
    """The table with our columns, but without films; and what was made of its cells, in words."""
    _check_paths(config)
    table = read_checked_csv("table", Path(config.table))
    _check_columns(table, config)
    raw = table.copy()  # our columns may have the same names as theirs

    # labels, kept next to what they were made from
    notes = describe_labels(config.label_column, raw[config.label_column], config.positive)
    cells = _trim_labels(raw[config.label_column], parse_rule(config.positive)[1])
    table["label"] = make_labels(raw[config.label_column], config.positive)
    # words of the label column tell who the controls are; numbers would be too many kinds
    numbers = _numbers(cells)
    has_words = bool((cells.notna() & numbers.isna()).any())
    words = _one_spelling(cells, numbers)
    table["label_value"] = words if has_words else numbers
    table["condition"] = words.fillna("") if has_words else ""

    # who and where: two spellings of one name would be two patients, or two hospitals
    for ours, column, what in (
        ("image_id", config.id_column, ""),
        ("patient_id", config.patient_column, "patients"),
        ("centre", config.centre_column, "hospitals"),
    ):
        table[ours] = raw[column].str.strip() if column else ""
        if not column:
            continue
        if what:
            refuse_twins(what, table[ours])
        notes += describe_changes(column, raw[column], table[ours])
        notes += _describe_odd_names(column, table[ours])
    table["centre"] = table["centre"].mask(table["centre"].map(is_blank), "")

    # age, sex and side
    for ours, column, read in (
        ("laterality", config.laterality_column, read_side),
        ("age", _covariate_column(raw, config.age_column, "age", config), read_ages),
        ("sex", _covariate_column(raw, config.sex_column, "sex", config), read_sex),
    ):
        if column:
            reading = read(raw[column])
            table[ours] = reading.checked(column)
            notes += reading.changes(column, raw[column])
        else:
            table[ours] = np.nan if ours == "age" else ""
    return table, notes


def _describe_odd_names(column: str, names: pd.Series) -> list[str]:
    """Say which names look like a word for 'not known': they are names all the same."""
    odd = names[names.map(lambda name: not is_blank(name) and fold(name) in NOT_KNOWN)]
    if odd.empty:
        return []
    shown = ", ".join(
        f"{name!r} ({n})" for name, n in odd.value_counts().iloc[:MOST_EXAMPLES].items()
    )
    return [
        f"column {column}: words for 'not known' are used as names ({shown}); leave such a cell"
        " empty or remove its row, if no name is meant"
    ]


def _check_paths(config: RunConfig) -> None:
    """Refuse a folder or file that does not exist; boxes are optional."""
    if not Path(config.images).is_dir():
        raise ValueError(f"images={config.images}: there is no such folder")
    for key, path in (("table", config.table), ("boxes", config.boxes)):
        if not Path(path).is_file() and (key == "table" or path):
            raise ValueError(f"{key}={path}: there is no such file")


def _check_columns(table: pd.DataFrame, config: RunConfig) -> None:
    """Refuse columns that are missing, ids that are empty or not unique, and empty patients."""
    columns = list(table.columns)
    for key in COLUMN_KEYS:
        column = getattr(config, key)
        if column and column not in columns:
            raise ValueError(
                f"{key}={column!r} is not a column of {Path(config.table).name}"
                f"{near_match(column, columns)}{other_comma(columns)}"
            )
    ids = table[config.id_column].str.strip()
    bad = ids[ids.map(is_blank) | ids.duplicated()]
    if len(bad):
        raise ValueError(
            f"{config.id_column} must be unique and not empty: row {bad.index[0] + 2} has"
            f" {bad.iloc[0][:MOST_NAME]!r}"
        )
    refuse_twins(f"column {config.id_column}:", ids, spell)  # both would be given the same film
    nobody = table[config.patient_column].map(is_blank)
    if nobody.any():
        raise ValueError(
            f"{config.patient_column} is empty in row {table.index[nobody][0] + 2}"
            f" ({nobody.sum()} rows are like that); every film needs its patient"
        )


def _covariate_column(table: pd.DataFrame, named: str, usual: str, config: RunConfig) -> str:
    """The column of age or sex: the one that the configuration names, else the one with the usual
    name in any case. '' where there is none, or where it makes the label.

    Raises
    ------
    ValueError
        If two columns have the usual name.
    """
    usually = [c for c in table.columns if c.casefold() == usual]
    if not named and len(usually) > 1:
        raise ValueError(
            f"{Path(config.table).name}: {' and '.join(map(repr, usually))} could both be the"
            f" {usual}; name one of them with --{usual}-column"
        )
    found = named or next(iter(usually), "")
    return "" if found == config.label_column else found


class _Films:
    """The files below the image folder, and which of them a cell of the table means."""

    def __init__(self, root: Path) -> None:
        self.root = root
        files, self.unusable = find_files(root)
        self.films = [path for path in files if path.suffix.lower() in SUFFIXES]
        self.others = [path for path in files if path.suffix.lower() not in SUFFIXES]
        # By name, and by name in one Unicode form. An export may have no suffixes at all, but a
        # name without suffix means a film before it means another file.
        self._named: list[dict[str, list[Path]]] = []
        for keys in (str, spell):
            for paths, names in ((self.films, _film_names), (self.others, _file_name)):
                named: dict[str, list[Path]] = {}
                for path in paths:
                    for name in {keys(name) for name in names(path)}:
                        named.setdefault(name, []).append(path)
                self._named.append(named)

    def find(self, cell: str) -> Path | None:
        """The film that a cell of the file column means.

        It is the file at that path under the image folder; else the only film of that name whose
        path ends as the cell says: 'images/7.png' is found even if the image folder itself is
        called images.
        """
        said = cell if "/" in cell else cell.replace("\\", "/")  # as Windows writes paths
        for path in (self.root / cell, self.root / said):
            if is_inside(path, self.root):  # whatever its suffix: DICOM files often have none
                return path
        parts = [spell(part) for part in (*Path(said).parts[:-1], _stem(Path(said).name))]
        return self.find_name(Path(said).name, parts)

    def find_name(self, name: str, parts: list[str] | None = None) -> Path | None:
        """The only film of that name, with or without suffix, whose path ends in `parts`.

        Two are an error: guessing could give a film another film's label.
        """
        for named, key in zip(self._named, (name, name, spell(name), spell(name)), strict=True):
            found = [
                path
                for path in named.get(key, ())
                # a file of that name in another folder may be another patient's
                if not parts or self._parts(path)[-len(parts) :] == parts
            ]
            if len(found) > 1:
                two = " and ".join(repr(text_of(p, self.root))[1:-1] for p in found[:2])
                raise ValueError(
                    f"images={self.root}: {name!r} could be {two}; add a column with the file of"
                    " each row, and name that column with --file-column"
                )
            if found:
                return found[0]
        return None

    def _parts(self, path: Path) -> list[str]:
        return [spell(part) for part in (*path.parts[:-1], _stem(path.name))]

    def explain(self, name: str) -> str:
        """Why no film was found for a name."""
        last = _stem(Path(name.replace("\\", "/")).name)
        for path, why in self.unusable.items():
            if spell(last) in (spell(path.name), spell(_stem(path.name))):
                return why
        alike = next((p for p in self.films if fold(_stem(p.name)) == fold(last)), None)
        near = f"; {text_of(alike, self.root)!r} is spelled otherwise" if alike and last else ""
        closed = [(path, why) for path, why in self.unusable.items() if path.is_dir()]
        hidden = (
            f"; {len(closed)} folders could not be read, such as {closed[0][0]} ({closed[0][1]})"
            if closed
            else ""
        )
        return f"no file of that name under the image folder{near}{hidden}"

    def explain_nothing(self) -> str:
        """What the folder holds instead of films, for a message."""
        said = [f"expected files that end in {', '.join(SUFFIXES)}"]
        if self.others:
            shown = text_of(self.others[0], self.root)
            said.append(
                f"{len(self.others)} files have other names, such as {shown!r}: name the column"
                " with the file of each row with --file-column"
            )
        if self.unusable:
            path, why = next(iter(self.unusable.items()))
            said.append(f"{len(self.unusable)} could not be used, such as {path.name!r}: {why}")
        return "; ".join(said)


def _stem(name: str) -> str:
    """A name without its suffix, where that is the suffix of a film: UIDs have dots too."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and dot + suffix.lower() in SUFFIXES else name


def _film_names(path: Path) -> tuple[str, ...]:
    return path.name, _stem(path.name)


def _file_name(path: Path) -> tuple[str, ...]:
    return (path.name,)


def _find_films(table: pd.DataFrame, config: RunConfig) -> tuple[list[Path | None], list[str]]:
    """The file of each row, and why there is none.

    Where a column names the files, that is a path under `images`, or the only film of that name.
    Otherwise it is the only film whose name is the image_id, with or without suffix.

    Raises
    ------
    ValueError
        If no row has a film, or a name could mean two.
    """
    root = Path(config.images).resolve()
    films = _Films(root)
    find = films.find if config.file_column else films.find_name
    found: list[Path | None] = []
    why = []
    for cell in table[config.file_column or "image_id"]:
        name = cell if is_inside(root / cell, root) else cell.strip()
        shown = repr(name[:MOST_NAME])
        if config.file_column and not Path(os.path.normpath(root / name)).is_relative_to(root):
            # not looked up by its last part either: that would be a different file
            film, fault = None, f"{shown} is outside the image folder"
        elif is_blank(name):
            film, fault = None, f"no file is named in column {config.file_column}"
        else:
            film = find(name)
            fault = "" if film else f"{shown}: {films.explain(name)}"
        found.append(film)
        why.append(fault)
    if not any(found):
        if not films.films:
            raise ValueError(f"images={root}: holds no film; {films.explain_nothing()}")
        raise ValueError(
            f"images={root}: none of the {len(table)} rows of the table has a film; the first:"
            f" {why[0]}; films there are called {text_of(films.films[0], root)!r}"
        )
    return found, why


def list_films(config: RunConfig) -> list[FilmFile]:
    """One film per row of the table, in its order."""
    table = read_film_table(config)
    given = read_boxes(config)
    if config.boxes:
        given, _ = _match_boxes(given, _read_cells(config)[0], config)
    boxes = dict(list(given.groupby("image_id")))
    root = Path(config.images).resolve()
    films = []
    for record in table.to_dict("records"):
        path, label, image_id = record["path"], record["label"], record["image_id"]
        row = {k: record[k] for k in ("image_id", "patient_id", "age", "sex", "centre")}
        row |= {
            "file": text_of(path, root) if path else "",
            "label": None if np.isnan(label) else int(label),
            "condition": record["condition"],
            "label_value": record["label_value"],
        }
        no_label = f"no value in {config.label_column}" if np.isnan(label) else ""
        joints = boxes[image_id].drop(columns="image_id") if image_id in boxes else no_joints()
        films.append(
            FilmFile(
                row=row,
                path=path,
                laterality=record["laterality"],
                joints=joints,
                fault=record["why"] if path is None else no_label,
            )
        )
    return films


def read_boxes(config: RunConfig) -> pd.DataFrame:
    """Read the joint boxes of the folder source.

    Joints of the same name on one film are numbered from left to right, so that names are unique.

    Returns
    -------
    DataFrame
        Columns of the joint table; empty where the configuration names no boxes.

    Raises
    ------
    ValueError
        If a column is missing, or a box is not four fractions with x0 < x1 and y0 < y1; the message
        names row and value.
    """
    if not config.boxes:
        return pd.DataFrame(columns=JOINT_COLUMNS)
    boxes = read_checked_csv("boxes", Path(config.boxes))
    name = "joint" if "joint" in boxes.columns else "site"
    missing = [c for c in ("image_id", name, *CORNERS) if c not in boxes.columns]
    if missing:
        raise ValueError(
            f"boxes={config.boxes}: column {missing[0]} is missing; expected image_id, joint, x0,"
            " y0, x1, y1"
        )
    boxes = boxes.rename(columns={name: "site"}).reindex(columns=JOINT_COLUMNS)
    boxes = boxes.map(lambda cell: None if pd.isna(cell) or is_blank(cell) else cell.strip())
    nameless = boxes.index[boxes[["image_id", "site"]].isna().any(axis=1)]
    if len(nameless):
        raise ValueError(
            f"boxes={config.boxes}: row {nameless[0] + 2} lacks image_id or {name}; a box needs its"
            " film and the name of its joint"
        )
    refuse_twins(f"boxes={config.boxes}: joints", boxes["site"])
    try:
        boxes = JOINT_SCHEMA.validate(boxes, lazy=True)
    except pa.errors.SchemaErrors as error:
        # counted as a person counts them in the file: the header is row 1
        rows = {i: f"row {i + 2}" for i in boxes.index}
        raise ValueError(
            f"boxes={config.boxes}: {first_fault(error, rows)}; expected corners as fractions of"
            " width and height"
        ) from None
    flat = boxes.index[(boxes["x0"] >= boxes["x1"]) | (boxes["y0"] >= boxes["y1"])]
    if len(flat):
        raise ValueError(
            f"boxes={config.boxes}: row {flat[0] + 2} has no area; expected x0 < x1 and y0 < y1"
        )
    boxes = boxes.sort_values(["image_id", "site", "x0"], kind="stable")
    same_name = boxes.groupby(["image_id", "site"])
    number = (same_name.cumcount() + 1).astype(str)
    is_only = same_name["x0"].transform("size") == 1
    boxes["site"] = boxes["site"].where(is_only, boxes["site"] + " " + number)
    return boxes


def _match_boxes(
    boxes: pd.DataFrame, table: pd.DataFrame, config: RunConfig
) -> tuple[pd.DataFrame, list[str]]:
    """The boxes whose film the table has, and a sentence about the others.

    Raises
    ------
    ValueError
        If no box has a film, or the film of a box is in the table under another spelling.
    """
    ids = set(table["image_id"])
    folded = {fold(_stem(name)): name for name in ids}
    is_foreign = ~boxes["image_id"].isin(ids)
    foreign = boxes.loc[is_foreign, "image_id"].sort_index()
    if foreign.empty:
        return boxes, []
    n_films = foreign.nunique()
    many = f"{len(foreign)} of {len(boxes)} boxes ({n_films} films) have no film in the table"
    for row, name in foreign.items():
        meant = folded.get(fold(_stem(name)))
        if meant is not None:
            raise ValueError(
                f"boxes={config.boxes}: row {row + 2} has image_id {name[:MOST_NAME]!r}, the table"
                f" {meant[:MOST_NAME]!r}; use the table's spelling ({many})"
            )
    first = foreign.iloc[0][:MOST_NAME]
    if len(foreign) == len(boxes):
        raise ValueError(
            f"boxes={config.boxes}: {many}; the first has image_id {first!r}, and the table"
            f" {table['image_id'].iloc[0][:MOST_NAME]!r}"
        )
    return boxes[~is_foreign], [f"boxes: {many} and are not used, such as {first!r}"]
