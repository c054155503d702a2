"""External test: a finished bundle scored on another cohort, with a report of its own.

Nothing is trained or chosen here.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from rahelpers.core.config import RunConfig
from rahelpers.core.store import (
    MissingArtefactError,
    Run,
    library_versions,
    open_run,
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
from rahelpers.evaluation.split_scores import compute_tables, describe_run, make_predictions
from rahelpers.evaluation.tables import load_predictions, metrics_table, show_score
from rahelpers.scores.intervals import Resampling, auc_interval, gap_interval
from rahelpers.scores.metrics import ScoredFilms, say_few

FOLDER = "external_test"


def find_bundle(path: Path) -> tuple[Path, Run | None]:
    """Find the bundle at `path`, and the run that made it if there is one.

    Parameters
    ----------
    path : Path
        Folder of a run, or of a bundle.

    Raises
    ------
    MissingArtefactError
        If there is neither.
    """
    for bundle, owner in ((path / "02_train" / "bundle", path), (path, path.parent.parent)):
        if (bundle / "bundle.json").exists():
            return bundle, open_run(owner) if (owner / "config.json").exists() else None
    raise MissingArtefactError(
        f"{path} holds neither a run with a bundle nor a bundle (bundle.json is missing); to make"
        " one, use: rahelpers run"
    )


def evaluate_elsewhere(path: Path, config: RunConfig) -> Path:
    """Score the bundle of a run, or a bundle, on every film of another cohort.

    The cohort is curated as in step 01 into the run that `config` names. Patients with a film that
    the network was trained or chosen on are left out, if the run that made the bundle is available.

    Parameters
    ----------
    path : Path
        Folder of a run, or of a bundle.
    config : RunConfig
        The cohort; its image_size must be that of the bundle.

    Returns
    -------
    Path
        `report.html`, next to metrics.json, predictions.csv and the tables of `compute_tables`.

    Raises
    ------
    MissingArtefactError
        If there is no bundle.
    ValueError
        If the sizes do not fit, or no film remains that the network has not seen.

    Examples
    --------
    >>> from rahelpers import make_config
    >>> from rahelpers.evaluation import evaluate_elsewhere
    >>> other = make_config(n_patients=40, image_size=48, seed=8, run_dir="runs/other")
    >>> evaluate_elsewhere(run.folder, other).name  # doctest: +SKIP
    'report.html'
    >>> evaluate_elsewhere(run.folder, run.config)  # the run's own cohort is not an external test
    Traceback (most recent call last):
    ValueError: the test would overwrite run '...', which made the bundle; choose another --name
    """
    from rahelpers.curation.step import curate
    from rahelpers.network.bundle import load_bundle
    from rahelpers.network.familiarity import extract_features, load_familiarity

    folder, owner = find_bundle(path)
    bundle, run = load_bundle(folder), Run(config)
    if config.image_size != bundle.info["image_size"]:
        raise ValueError(
            f"image_size={config.image_size}: expected {bundle.info['image_size']}, the size that"
            " the network was trained at"
        )
    if owner is not None and owner.folder.resolve() == run.folder.resolve():
        raise ValueError(
            f"the test would overwrite run '{owner.folder.name}', which made the bundle; choose"
            " another --name"
        )

    # the films that the network has not seen, and what it says of them
    cohort = curate(run)
    unseen, notes = drop_seen(cohort.manifest, owner)
    rows = cohort.manifest.index.get_indexer(unseen.index)
    logits, features = extract_features(bundle.fast, cohort.images[rows])
    table = make_predictions(
        unseen.assign(split="external"), logits, features, bundle, load_familiarity(bundle)
    )

    # scores and tables, as for a split of step 03
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
    tables = compute_tables(table, "external", metrics)
    home = _compare_with_home(owner, table)

    out = run.folder / FOLDER
    write_json(out / "metrics.json", metrics)
    for name, part in (tables | {"predictions": table}).items():
        write_atomically(out / f"{name}.csv", partial(part.to_csv, index=False))
    write_text(out / "report.html", _render(run, metrics, table, tables, home))
    return out / "report.html"


def drop_seen(manifest: pd.DataFrame, owner: Run | None) -> tuple[pd.DataFrame, list[str]]:
    """Keep the films of patients whom the network has not seen, and say in words what was dropped.

    A patient was seen if one of their films is in the training or validation split of the network.
    Films are compared by the SHA-256 of their content.

    Raises
    ------
    ValueError
        If no film remains.
    """
    if owner is None:
        return manifest, [
            "The run that made the bundle is not available: whether the network was trained on some"
            " of these films was not checked."
        ]
    home = pd.read_csv(owner.file("curate", "manifest.csv"), usecols=["sha256", "split"])
    seen = manifest["sha256"].isin(home.loc[home["split"].isin(["train", "validation"]), "sha256"])
    patients = manifest.loc[seen, "patient_id"].unique()
    rest = manifest[~manifest["patient_id"].isin(patients)]
    if rest.empty:
        raise ValueError(
            f"all {len(manifest)} films belong to patients whom the network was trained or chosen"
            " on: expected another cohort (for the phantom another seed, such as -p seed=8)"
        )
    words = (
        f"{len(manifest) - len(rest)} films of {len(patients)} patients were left out"
        if len(patients)
        else "No film was left out"
    )
    return rest, [
        f"{words}: films were compared by content with the training and validation films of the"
        " network."
    ]


def _questions(info: dict[str, Any], config: RunConfig) -> list[str]:
    notes = []
    if list(info["class_names"]) != list(config.class_names):
        own, asked = (
            "' against '".join(reversed(list(names)))
            for names in (info["class_names"], config.class_names)
        )
        notes.append(
            f"The network answers '{own}'; the label of the cohort is '{asked}'. A person must"
            " decide whether that is the same question."
        )
    if info["source"] == "phantom":
        notes.append("The network was trained on drawn films (the phantom).")
    if config.source == "phantom":
        notes.append("The films here are drawn (the phantom): no figure is about patients.")
    return notes


def _compare_with_home(owner: Run | None, table: pd.DataFrame) -> str:
    """The AUC on the network's own test split minus the AUC here, in words.

    '' if the network's own test split is not available.
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
        f"{show_score(gap_interval(own, here), few)}; own test AUC"
        f" {show_score(auc_interval(own), say_few(own.labels))}"
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
            "Accuracy on the rest of the films, against the share that goes to a person",
        ),
    ]
    if "net_benefit" in tables:
        figures.append(
            (
                plot_net_benefit(tables["net_benefit"], metrics["prevalence"], title),
                "Decision curve, compared with treating everyone and no one",
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
