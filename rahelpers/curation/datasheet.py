"""A datasheet of a curated cohort, after Gebru et al., Datasheets for datasets, Commun ACM
2021;64(12):86.

What the data itself can answer is filled in; what only a person can answer stays visibly open.
"""

from __future__ import annotations

import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.curation.duplicates import SAME
from rahelpers.curation.splits import SPLITS, find_leaks, warn_about_splits
from rahelpers.data.sources.words import show_cell

MOST_VALUES = 12  # of a label column, listed one by one
OPEN = "**TO BE WRITTEN BY A PERSON:**"
QUESTIONS = {
    "Motivation": [
        "For what purpose was the cohort put together, and by whom?",
        "Who paid for it?",
    ],
    "Collection": [
        "How were patients chosen, over which years, and who was left out?",
        "Which devices and protocols made the films?",
        "Who read the films, how many readers, and how was disagreement settled?",
        "Was an ethics board asked? Did the patients consent?",
    ],
    "Uses": [
        "For which questions must the cohort not be used?",
        "Whom could a wrong result harm, and how?",
    ],
    "Distribution and maintenance": [
        "Under which licence may it be passed on?",
        "Who answers questions, and how is an error corrected?",
    ],
}


def describe_cohort(config: RunConfig, tables: dict[str, pd.DataFrame], values: pd.Series) -> str:
    """The datasheet as Markdown.

    Parameters
    ----------
    config : RunConfig
    tables : dict
        manifest, excluded, quality, pairs and joints, as step 01 writes them.
    values : Series, n rows
        What the label of each film in the manifest was made from, as the source has it; None where
        it knows no more than the label.
    """
    manifest = tables["manifest"]
    parts = [
        f"# Datasheet: {config.title}",
        (
            "Filled in from the data by rahelpers. A line in bold asks for what only a person"
            " knows: this sheet is not finished before each is answered."
        ),
        _open("Motivation"),
        "## Composition",
        *_composition(config, manifest, values),
        "## Collection",
        *_collection(manifest),
        _questions("Collection"),
        "## Preprocessing and quality",
        *_preprocessing(config, tables),
        "## Splits",
        *_splits(config, manifest),
        _open("Uses"),
        _open("Distribution and maintenance"),
    ]
    return "\n\n".join(parts) + "\n"


def _questions(section: str) -> str:
    return "\n".join(f"- {OPEN} {question}" for question in QUESTIONS[section])


def _open(section: str) -> str:
    return f"## {section}\n\n{_questions(section)}"


def _list(facts: dict[str, object]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _range(values: pd.Series, unit: str = "") -> str:
    known = pd.to_numeric(values, errors="coerce").dropna()
    if known.empty:
        return "not known for any film"
    missing = len(values) - len(known)
    return f"{known.min():g} to {known.max():g}{unit}, median {known.median():g}" + (
        f"; not known for {missing} films" if missing else ""
    )


def _count(values: pd.Series) -> str:
    return ", ".join(f"{name or 'not known'} {n}" for name, n in values.value_counts().items())


def _label_rule(config: RunConfig) -> str:
    if config.source == "phantom":
        return "the patient as drawn"
    return (
        f"column `{config.label_column}`, rule"
        f" `{config.positive if config.positive[:1] in '<>=' else f'= {config.positive}'}`"
    )


def _label_values(values: pd.Series) -> str:
    """Values and how many films have each; of many numbers the range."""
    known = values.dropna()
    if known.empty:
        return "the label itself"
    numbers = pd.to_numeric(known, errors="coerce")
    if known.nunique() > MOST_VALUES and numbers.notna().all():
        return f"{known.nunique()} values, {_range(numbers, '')}"
    counts = known.map(show_cell).value_counts()
    more = f", and {len(counts) - MOST_VALUES} more values" if len(counts) > MOST_VALUES else ""
    return ", ".join(f"{value} {n}" for value, n in counts.iloc[:MOST_VALUES].items()) + more


def _composition(config: RunConfig, manifest: pd.DataFrame, values: pd.Series) -> list[str]:
    negative, positive = config.class_names
    per_patient = manifest.groupby("patient_id").size()
    return [
        _list(
            {
                "films": len(manifest),
                "patients": len(per_patient),
                "films of one patient": f"{per_patient.min()} to {per_patient.max()}",
                f"label 1 ({positive})": (
                    f"{int(manifest['label'].sum())} films of"
                    f" {manifest.loc[manifest['label'] == 1, 'patient_id'].nunique()} patients"
                ),
                f"label 0 ({negative})": (
                    f"{int((manifest['label'] == 0).sum())} films of"
                    f" {manifest.loc[manifest['label'] == 0, 'patient_id'].nunique()} patients"
                ),
                "label is made from": _label_rule(config),
                "values that it was made from, and films": _label_values(values),
                "age": _range(manifest["age"], " years"),
                "sex": _count(manifest["sex"]),
                "side": _count(manifest["laterality"]),
                "hospital": _count(manifest["centre"]),
                "condition": _count(manifest["condition"]),
            }
        )
    ]


def _collection(manifest: pd.DataFrame) -> list[str]:
    return [
        _list(
            {
                "source": _count(manifest["source"]),
                "file format": _count(manifest["file_format"]),
                "bits stored": _count(manifest["bits_stored"].astype(str)),
                "colour": _count(manifest["stored_colour"].replace("", "grey")),
                "width": _range(manifest["width"], " px"),
                "height": _range(manifest["height"], " px"),
                "pixel spacing": _range(manifest["spacing_mm"], " mm"),
            }
        )
    ]


def _preprocessing(config: RunConfig, tables: dict[str, pd.DataFrame]) -> list[str]:
    quality, excluded, pairs = tables["quality"], tables["excluded"], tables["pairs"]
    lines = [
        "Every hand was found, cropped, turned upright, mirrored to one side where its side is"
        f" known, and fitted into {config.image_size} x {config.image_size} pixels of 8 bit."
    ]
    findings = quality.groupby(["check", "action"])["image_id"].nunique()
    lines.append(
        _list({f"{check}, {action}": f"{n} films" for (check, action), n in findings.items()})
        or "No film had a finding."
    )
    lines.append(f"{len(excluded)} films were left out" + (":" if len(excluded) else "."))
    if len(excluded):
        lines.append(_list(excluded.set_index("image_id")["reason"].head(50).to_dict()))
    if config.source == "phantom":
        lines.append(
            "Films of one hand under two names were not looked for: every phantom patient is drawn"
            " anew."
        )
    else:
        same = int(pairs["verdict"].isin(SAME).sum())
        lines.append(
            f"Pairs that show one hand, or are one file, under two patients' names: {same}; to be"
            f" looked at: {len(pairs) - same} (`pairs.csv`)."
        )
    return lines


def _splits(config: RunConfig, manifest: pd.DataFrame) -> list[str]:
    rows = [
        "| split | films | patients | positive films | negative films |",
        "|---|---|---|---|---|",
    ]
    for split in [s for s in SPLITS if s in set(manifest["split"])]:
        part = manifest[manifest["split"] == split]
        rows.append(
            f"| {split} | {len(part)} | {part['patient_id'].nunique()} | {int(part['label'].sum())}"
            f" | {int((part['label'] == 0).sum())} |"
        )
    warnings = warn_about_splits(manifest)
    leaks = find_leaks(manifest)
    return [
        "\n".join(rows),
        f"By patient, seed {config.seed}. Patients or files in two splits: {len(leaks)}.",
        "\n".join(f"- a reviewer would say: {w}" for w in warnings) or "No warning.",
    ]
