"""External test: a finished bundle scored on another cohort, with a report of its own. Nothing is
trained or chosen here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from rahelpers.core.config import RunConfig
from rahelpers.core.store import (
    MissingArtefactError,
    Run,
    library_versions,
    sha256_of,
    write_atomically,
    write_json,
    write_text,
)
from rahelpers.display.html import figure_png, picture_html
from rahelpers.display.pages import render_page
from rahelpers.evaluation.figures import (
    plot_abstention,
    plot_calibration,
    plot_forest,
    plot_net_benefit,
)
from rahelpers.evaluation.tables import (
    compute_tables,
    describe_run,
    load_predictions,
    make_predictions,
    metrics_table,
    show_score,
)
from rahelpers.scores.intervals import Resampling, auc_interval, gap_interval
from rahelpers.scores.metrics import ScoredFilms, say_few

FOLDER = "external_test"


def find_bundle(path: Path) -> tuple[Path, Run | None]:
    """The bundle at `path`, and the run that made it where there is one.

    Parameters
    ----------
    path : Path
        A run's folder, or a bundle's.

    Raises
    ------
    MissingArtefactError
        If there is neither.
    """
    from rahelpers.core.store import open_run

    for bundle, owner in ((path / "02_train" / "bundle", path), (path, path.parent.parent)):
        if (bundle / "bundle.json").exists():
            return bundle, open_run(owner) if (owner / "config.json").exists() else None
    raise MissingArtefactError(
        f"{path} holds neither a run with a bundle nor a bundle (bundle.json is missing); make one"
        " with: rahelpers run"
    )


def evaluate_elsewhere(path: Path, config: RunConfig) -> Path:
    """Score the bundle of a run, or a bundle, on every film of another cohort.

    The cohort is curated as in step 01 into the run that `config` names. Patients with a film that
    the network was trained or chosen on are left out, where the run that made it is at hand.

    Parameters
    ----------
    path : Path
        A run's folder, or a bundle's.
    config : RunConfig
        The cohort; its image_size must be the bundle's.

    Returns
    -------
    Path
        `report.html`; beside it metrics.json, predictions.csv and the tables of `compute_tables`.

    Raises
    ------
    MissingArtefactError
        If there is no bundle.
    ValueError
        If the sizes do not fit, or no film remains that the network has not seen.
    """
    from rahelpers.curation.step import curate
    from rahelpers.network.bundle import load_bundle
    from rahelpers.network.familiarity import extract_features, load_familiarity

    folder, owner = find_bundle(path)
    bundle, run = load_bundle(folder), Run(config)
    if config.image_size != bundle.info["image_size"]:
        raise ValueError(
            f"image_size={config.image_size}: expected the bundle's {bundle.info['image_size']}"
        )
    if owner is not None and owner.folder.resolve() == run.folder.resolve():
        raise ValueError(
            f"the test would overwrite run '{owner.folder.name}', which made the bundle; choose"
            " another --name"
        )
    cohort = curate(run)
    unseen, notes = drop_seen(cohort.manifest, owner)
    rows = cohort.manifest.index.get_indexer(unseen.index)
    logits, features = extract_features(bundle.fast, cohort.images[rows])
    table = make_predictions(
        unseen.assign(split="external"), logits, features, bundle, load_familiarity(bundle)
    )
    title = f"{config.title}, network of {bundle.info['title']}"
    resampling = Resampling(config.n_bootstrap, config.seed)
    metrics = describe_run(title, config.source, bundle.info, table, resampling, config.prevalence)
    metrics |= {
        "bundle": {
            "folder": folder.name,
            "run": owner.folder.name if owner else "",
            "sha256": bundle.info["files"]["model.keras"],
            "title": bundle.info["title"],
        },
        "notes": notes + _questions(bundle.info, config),
    }
    tables = compute_tables(table, "external", metrics, resampling)
    home = _compare_with_home(owner, table, resampling)
    out = run.folder / FOLDER
    write_json(out / "metrics.json", metrics)
    for name, part in (tables | {"predictions": table}).items():
        write_atomically(out / f"{name}.csv", lambda p, t=part: t.to_csv(p, index=False))
    write_text(out / "report.html", _render(run, metrics, table, tables, home))
    return out / "report.html"


def drop_seen(manifest: pd.DataFrame, owner: Run | None) -> tuple[pd.DataFrame, list[str]]:
    """The films of patients none of whose films stands in the network's training or validation
    split, and what was found.

    Films are compared by the SHA-256 of their content.

    Raises
    ------
    ValueError
        If no film remains.
    """
    if owner is None:
        return manifest, [
            "The run that made the bundle is not at hand: whether it was trained on some of these"
            " films was not checked."
        ]
    home = pd.read_csv(owner.file("curate", "manifest.csv"), usecols=["sha256", "split"])
    seen = manifest["sha256"].isin(home.loc[home["split"].isin(["train", "validation"]), "sha256"])
    patients = manifest.loc[seen, "patient_id"].unique()
    rest = manifest[~manifest["patient_id"].isin(patients)]
    if rest.empty:
        raise ValueError(
            f"all {len(manifest)} films belong to patients that the network was trained or chosen"
            " on: expected another cohort (for the phantom another seed, such as -p seed=8)"
        )
    words = (
        f"{len(manifest) - len(rest)} films of {len(patients)} patients were left out"
        if len(patients)
        else "No film was left out"
    )
    return rest, [
        f"{words}: films were compared by content with the network's training and validation films."
    ]


def _questions(info: dict[str, Any], config: RunConfig) -> list[str]:
    notes = []
    if list(info["class_names"]) != list(config.class_names):
        own, asked = (
            "' against '".join(reversed(names))
            for names in (list(info["class_names"]), list(config.class_names))
        )
        notes.append(
            f"The network answers '{own}'; the cohort's label is '{asked}'. Whether that is the"
            " same question is for a person to say."
        )
    if info["source"] == "phantom":
        notes.append("The network was trained on drawn films (the phantom).")
    if config.source == "phantom":
        notes.append("The films here are drawn (the phantom): no figure is about patients.")
    return notes


def _compare_with_home(owner: Run | None, table: pd.DataFrame, resampling: Resampling) -> str:
    """The AUC on the network's own test split less the AUC here, in words; '' where the own test is
    not at hand.
    """
    if owner is None or not (owner.folder / "03_evaluate" / "record.json").exists():
        return ""
    predictions = load_predictions(owner)
    own = ScoredFilms.from_table(predictions[predictions["split"] == "test"])
    here = ScoredFilms.from_table(table)
    if len(set(own.labels)) < 2 or len(set(here.labels)) < 2:
        return "not known: a class is missing"
    few = " and ".join(
        f"{say_few(part.labels)} in {name}"
        for part, name in ((own, "its test split"), (here, "this cohort"))
        if say_few(part.labels)
    )
    return (
        f"{show_score(gap_interval(own, here, resampling), few)}; own test AUC"
        f" {show_score(auc_interval(own, resampling), say_few(own.labels))}"
    )


def _render(
    run: Run,
    metrics: dict[str, Any],
    table: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    home: str,
) -> str:
    title, probability = metrics["title"], table["probability"].to_numpy()
    figures = [
        (
            plot_calibration(tables["calibration"], probability, title),
            "Predicted probability against observed share of positives, with intervals",
        ),
        (
            plot_forest(tables["subgroups"], title),
            "Sensitivity of each subgroup with interval and counts; hollow where films are few",
        ),
        (
            plot_abstention(tables["abstention"], title),
            "Accuracy on the films left, against the share that goes to a person",
        ),
    ]
    if "net_benefit" in tables:
        figures.append(
            (
                plot_net_benefit(tables["net_benefit"], metrics["prevalence"], title),
                "Decision curve beside treating everybody and nobody",
            )
        )
    return render_page(
        "external.html.j2",
        title=title,
        metrics=metrics,
        scores=Markup(metrics_table(metrics).to_html(border=0)),
        home=home,
        conformal=metrics["conformal"]["splits"].get("external"),
        unlike=metrics["unlike"].get("external"),
        show=show_score,
        figures=[Markup(picture_html(figure_png(figure), alt, alt)) for figure, alt in figures],
        versions=library_versions(),
        settings=run.config.subset(
            "profile", "source", "seed", "image_size", "n_bootstrap", "prevalence"
        ),
        manifest=sha256_of(run.file("curate", "manifest.csv")),
    )
