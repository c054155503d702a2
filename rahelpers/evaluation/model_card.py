"""A model card and a reporting checklist of a run, written by step 03.

Filled in from the run; what only a person can answer stays visibly open, as in the datasheet of
step 01.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.curation.datasheet import OPEN
from rahelpers.scores.intervals import interval_text

PHANTOM = (
    "**Every figure below comes from drawn films (the phantom). None of them is about patients.**"
)
NOT_FOR = "Education and research only. Not for diagnosis or treatment."


def _score(score: dict[str, float] | None) -> str:
    return "not known" if score is None else interval_text(score)


def _counts(scores: dict[str, Any]) -> str:
    c = scores["counts"]
    return (
        f"{c['films_positive']} positive films of {c['patients_positive']} patients,"
        f" {c['films_negative']} negative films of {c['patients_negative']}"
    )


def _ranking(scores: dict[str, Any], name: str) -> str:
    return f"not shown: {scores['few']}" if scores["few"] else _score(scores[name])


def _open(*questions: str) -> str:
    return "\n".join(f"- {OPEN} {question}" for question in questions)


def describe_model(
    config: RunConfig, info: dict[str, Any], metrics: dict[str, Any], subgroups: pd.DataFrame
) -> str:
    """The model card as Markdown, after Mitchell et al., Model cards for model reporting, FAT*
    2019, arXiv 1810.03993.

    Parameters
    ----------
    config : RunConfig
    info : dict
        The content of `bundle.json`.
    metrics : dict
        The content of `metrics.json`.
    subgroups : DataFrame
        As `compute_subgroups` returns it, of the test split.
    """
    parts = [
        f"# Model card: {metrics['title']}",
        *([PHANTOM] if config.source == "phantom" else []),
        (
            f"{NOT_FOR} Filled in from the run by rahelpers. A line in bold asks for what only a"
            " person knows: this card is not finished before each is answered."
        ),
        "## Model",
        _model(config, info),
        "## Intended use",
        _open(
            "For which question, which patients and which readers is it meant?",
            "What happens when it is wrong, and who notices?",
            "For what must it not be used?",
        ),
        "## Training and validation data",
        _training(info, metrics),
        "## Scores",
        _scores(metrics),
        "## Overfitting",
        _gap(metrics),
        "## Subgroups of the test split",
        _subgroups(subgroups),
        "## Abstention",
        _abstention(metrics),
        "## Films unlike the training films",
        _unlike(metrics),
        "## Shortcut probes on test",
        _probes(metrics),
        "## Ethics and limits",
        _limits(metrics, subgroups),
        _open(
            "Which harms were considered, and with whom?",
            "How will it be watched in use, and who answers for it?",
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _model(config: RunConfig, info: dict[str, Any]) -> str:
    start = {"none": "random weights", "imagenet": "weights trained on ImageNet"}.get(
        config.weights, "weights from a file"
    )
    point = info["operating_point"]
    return "\n".join(
        [
            (
                f"- network: {info['architecture']}, {info['training']['parameters']:,} parameters,"
                f" from {start}"
            ),
            f"- input: {info['image_size']} x {info['image_size']} pixels",
            f"- preprocessing: {info['preprocessing']}",
            (
                f"- answer: probability of '{info['class_names'][1]}' against"
                f" '{info['class_names'][0]}'"
            ),
            (
                f"- calibration: temperature {info['temperature']:.3g}, offset"
                f" {info['offset']:.3g}, fitted on validation"
            ),
            (
                f"- operating point: probability {point['probability']:.3f}, rule: {point['rule']},"
                f" chosen on {point['chosen_on']} ({point['films_positive']} positive,"
                f" {point['films_negative']} negative films)"
            ),
            f"- seed {config.seed}, profile {config.profile}; versions: "
            + ", ".join(f"{k} {v}" for k, v in sorted(info["versions"].items())),
            f"- model.keras: SHA-256 {info['files']['model.keras']}",
            _open(
                "Who made it, when, and whom may one ask?", "Under which licence may it be used?"
            ),
        ]
    )


def _training(info: dict[str, Any], metrics: dict[str, Any]) -> str:
    lines = [f"- source: {metrics['source']}; more in `01_curate/datasheet.md`"]
    lines += [f"- {split}: {_counts(scores)}" for split, scores in metrics["splits"].items()]
    return "\n".join([*lines, "- splits by patient: no patient stands in two of them"])


def _scores(metrics: dict[str, Any]) -> str:
    rows = [
        "| score | " + " | ".join(metrics["splits"]) + " |",
        "|---" * (len(metrics["splits"]) + 1) + "|",
    ]
    prevalence = f" at prevalence {metrics['prevalence']:g}"
    names = {
        "auc": "AUC",
        "average_precision": "average precision",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "ppv": f"PPV{prevalence}",
        "npv": f"NPV{prevalence}",
        "brier": "Brier score",
        "ece": "calibration error",
    }
    for name, words in names.items():
        show = _ranking if name in ("auc", "average_precision") else (lambda s, k: _score(s[k]))
        rows.append(
            f"| {words} | "
            + " | ".join(show(scores, name) for scores in metrics["splits"].values())
            + " |"
        )
    test = metrics["splits"]["test"]
    chance = (
        ""
        if test["auc_p"] is None
        else f" Against chance, patients exchanging their labels: p = {test['auc_p']:.3g} on test."
    )
    return (
        "\n".join(rows)
        + f"\n\nSource: {metrics['title']}. Brackets: {metrics['interval']}.{chance} Test:"
        f" {_counts(test)}."
    )


def _gap(metrics: dict[str, Any]) -> str:
    gap = metrics["gap"]
    shown = f"not shown: {gap['few']}" if gap["few"] else _score(gap)
    return f"AUC on training films less AUC on test films: {shown}."


def _subgroups(subgroups: pd.DataFrame) -> str:
    rows = [
        "| subgroup | positive / negative films | AUC | sensitivity | specificity | warning |",
        "|---|---|---|---|---|---|",
    ]
    for row in subgroups.to_dict("records"):
        cells = [
            _score(
                None
                if pd.isna(pd.to_numeric(row[k], errors="coerce"))
                else {
                    "value": float(row[k]),
                    "low": float(row[f"{k}_low"]),
                    "high": float(row[f"{k}_high"]),
                }
            )
            for k in ("auc", "sensitivity", "specificity")
        ]
        cells[0] = "not shown" if row["warning"] else cells[0]
        name = row["value"] if row["group"] == "all" else f"{row['group']}: {row['value']}"
        rows.append(
            f"| {name} | {row['films_positive']} / {row['films_negative']} | {' | '.join(cells)} |"
            f" {row['warning']} |"
        )
    return "\n".join(rows)


def _abstention(metrics: dict[str, Any]) -> str:
    conformal = metrics["conformal"]
    lines = [
        f"Split-conformal sets by class, alpha {conformal['alpha']:g}, fitted on validation:"
        f" {conformal['patients_positive']} positive and {conformal['patients_negative']} negative"
        " patients. Validation also chose the epoch and the calibration, so the promise holds"
        " about, not exactly."
    ]
    for split, found in conformal["splits"].items():
        sets = found["sets"]
        lines.append(
            f"- {split}, {found['films']} films: the set holds the true class for"
            f" {_score(found['coverage_positive'])} of positive and"
            f" {_score(found['coverage_negative'])} of negative films; it speaks on"
            f" {found['spoken']} films (accuracy there: {_score(found['accuracy_spoken'])}); both"
            f" classes fit {sets['both']} films, neither {sets['none']}"
        )
    return "\n".join(lines)


def _unlike(metrics: dict[str, Any]) -> str:
    lines = [
        f"- {split}: {_score(share)} of the films lie beyond the limit"
        for split, share in metrics["unlike"].items()
    ]
    caught = [
        f"{row['kind']} {row['warned']:.0%}"
        for row in metrics.get("strange") or []
        if row["score"] == "distance"
    ]
    return "\n".join(
        [*lines, f"- of pictures that do not belong it catches: {', '.join(caught)}"]
        if caught
        else lines
    )


def _probes(metrics: dict[str, Any]) -> str:
    rows = metrics.get("probes") or []
    if not rows:
        return "Not done: no film could be taken apart."
    if rows[0]["few"]:
        return (
            f"{rows[0]['few']}: no AUC. Share of calls that change: "
            + ", ".join(f"{r['part']} {r['done']} {r['changed']:.0%}" for r in rows)
            + "."
        )
    return "AUC as it is less AUC after:\n" + "\n".join(
        f"- {r['part']} {r['done']}: {r['less']:+.2f} ({r['low']:+.2f} to {r['high']:+.2f})"
        for r in rows
    )


def _limits(metrics: dict[str, Any], subgroups: pd.DataFrame) -> str:
    test = metrics["splits"]["test"]
    lines = [
        f"- Calibration error on test {_score(test['ece'])}; a perfectly calibrated network would"
        f" show about {test['ece']['if_calibrated']:.2f} on so few films."
    ]
    if test["few"]:
        lines.append(
            f"- {test['few']} in test: no AUC means anything; only counts and rates are shown."
        )
    few = [
        row["value"]
        for row in subgroups.to_dict("records")
        if row["warning"] and row["group"] != "all"
    ]
    if few:
        lines.append(f"- Too few films to judge: {', '.join(map(str, few))}.")
    if "external" not in metrics["splits"]:
        lines.append("- Not tested on films of another hospital.")
    return "\n".join(lines)


def fill_checklist(
    config: RunConfig, info: dict[str, Any], metrics: dict[str, Any], manifest: pd.DataFrame
) -> str:
    """A checklist for writing the study up, in the order of TRIPOD+AI and CLAIM; answered where the
    run knows.

    It is a short form in our own words and does not replace the published lists.

    Parameters
    ----------
    config : RunConfig
    info : dict
        The content of `bundle.json`.
    metrics : dict
        The content of `metrics.json`.
    manifest : DataFrame
        The curated cohort.

    References
    ----------
    Collins et al., TRIPOD+AI, BMJ 2024;385:e078378; Tejani et al., CLAIM 2024 update, Radiol Artif
    Intell 2024;6(4):e240300.
    """
    test, point, gap = metrics["splits"]["test"], info["operating_point"], metrics["gap"]
    splits = "; ".join(f"{split}: {_counts(scores)}" for split, scores in metrics["splits"].items())
    unknown = {
        name: int((manifest[column].isna() | (manifest[column] == "")).sum())
        for name, column in (
            ("age", "age"),
            ("sex", "sex"),
            ("side", "laterality"),
            ("hospital", "centre"),
        )
    }
    items: dict[str, list[tuple[str, str | None]]] = {
        "Title and introduction": [
            (
                "The title says what is predicted, in whom, and that a model was made or tested",
                None,
            ),
            ("Clinical background, existing models, why another one", None),
            ("Known differences in health between groups of people", None),
        ],
        "Data": [
            ("Source", f"{metrics['title']}; source {config.source}. See `01_curate/datasheet.md`"),
            ("Setting, years, who was asked and who was left out", None),
            (
                "How the label was made, by whom, with how much agreement",
                (
                    f"label rule: {config.label_column} {config.positive}; readers and their"
                    " agreement are not known to the run"
                    if config.label_column
                    else "drawn by the phantom, exact"
                    if config.source == "phantom"
                    else None
                ),
            ),
            ("Preprocessing", info["preprocessing"]),
            (
                "Missing data",
                "; ".join(
                    f"{name} not known for {n} of {len(manifest)} films"
                    for name, n in unknown.items()
                ),
            ),
            (
                "How many films and patients, and why so many",
                f"{splits}. The reason for these numbers is for a person to give",
            ),
            (
                "Splits and their level",
                (
                    f"by patient, seed {config.seed}; test {config.test_fraction:g}, validation"
                    f" {config.validation_fraction:g}"
                ),
            ),
        ],
        "Model": [
            (
                "Architecture, start and size",
                (
                    f"{info['architecture']}, weights"
                    f" {config.weights if config.weights in ('none', 'imagenet') else 'from a file'},"
                    f" {info['training']['parameters']:,} parameters"
                ),
            ),
            (
                "Training",
                (
                    f"at most {config.epochs} epochs, batch {config.batch_size}, Adam up to"
                    f" {config.learning_rate:g}, augmentation {'on' if config.augment else 'off'};"
                    " the epoch with the best validation AUC is kept"
                ),
            ),
            (
                "Imbalance of classes",
                "weighted by class in the loss; the calibration brings the share of positives back",
            ),
            (
                "Operating point",
                f"{point['probability']:.3f}: {point['rule']}, on {point['chosen_on']}",
            ),
            (
                "Code and environment",
                (
                    "versions in `02_train/bundle/bundle.json`, files and their SHA-256 in"
                    " `record.json` of each step"
                ),
            ),
        ],
        "Evaluation": [
            ("Discrimination with interval", f"test AUC {_ranking(test, 'auc')}; {_counts(test)}"),
            (
                "Sensitivity and specificity at the operating point",
                f"{_score(test['sensitivity'])}; {_score(test['specificity'])}",
            ),
            (
                "Calibration",
                (
                    f"Brier score {_score(test['brier'])}; calibration error {_score(test['ece'])};"
                    " reliability in `calibration.csv`"
                ),
            ),
            (
                "Clinical usefulness",
                f"decision curve at prevalence {metrics['prevalence']:g} in `net_benefit.csv`",
            ),
            (
                "Overfitting",
                (
                    "train less test AUC:"
                    f" {('not shown: ' + gap['few']) if gap['few'] else _score(gap)}"
                ),
            ),
            ("Fairness", "subgroups in `subgroups.csv`, with a warning where counts are small"),
            (
                "Robustness",
                (
                    "markers, border, background and exposure hidden and swapped in"
                    " `shortcuts_probes.csv`; strange pictures in `strange.csv`"
                ),
            ),
            ("Errors", "the worst false calls are shown in notebook 03"),
            ("Explanations", "Grad-CAM and SHAP, scored beside chance: steps 04 and 05"),
            (
                "External test",
                _counts(metrics["splits"]["external"]) if "external" in metrics["splits"] else None,
            ),
            ("Comparison with readers or with other models on the same films", None),
        ],
        "Discussion and openness": [
            ("Limits, bias, and to whom the result carries over", None),
            ("Protocol, registration, ethics board, consent", None),
            ("Funding and conflicts of interest", None),
            ("Whether patients or the public had a part", None),
            ("Where data, code and network may be had", None),
        ],
    }
    answered = sum(answer is not None for section in items.values() for _, answer in section)
    total = sum(len(section) for section in items.values())
    parts = [
        f"# Reporting checklist: {metrics['title']}",
        *([PHANTOM] if config.source == "phantom" else []),
        (
            "After TRIPOD+AI (BMJ 2024;385:e078378) and CLAIM 2024 (Radiol Artif Intell"
            " 2024;6(4):e240300), in short and in our own words; use the published lists for a"
            f" submission. The run answers {answered} of {total} items; {total - answered} wait for"
            " a person."
        ),
    ]
    for section, rows in items.items():
        lines = [
            f"- [{' ' if answer is None else 'x'}] {item}:"
            f" {f'{OPEN} not known to the run' if answer is None else answer}"
            for item, answer in rows
        ]
        parts += [f"## {section}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"
