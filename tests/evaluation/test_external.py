"""A bundle on another cohort: nothing chosen again, nothing seen before, and a full report."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from rahelpers.cli.main import main
from rahelpers.core.config import make_config
from rahelpers.core.store import DamagedArtefactError, MissingArtefactError, Run
from rahelpers.curation.step import curate
from rahelpers.evaluation.external import drop_seen, evaluate_elsewhere, find_bundle
from rahelpers.evaluation.step import evaluate
from rahelpers.evaluation.tables import metrics_table
from rahelpers.network.bundle import load_bundle
from rahelpers.training.step import train


def cohort(folder, **more):
    values = {
        "n_patients": 24,
        "image_size": 48,
        "n_bootstrap": 50,
        "seed": 8,
        "test_fraction": 0.3,
        "validation_fraction": 0.3,
    }
    return make_config(**values | {"run_dir": str(folder)} | more)


@pytest.mark.slow
def test_a_run_on_another_cohort(tiny_run, tmp_path):
    own = evaluate(tiny_run)
    report = evaluate_elsewhere(tiny_run.folder, cohort(tmp_path / "out"))
    metrics, text = json.loads((report.parent / "metrics.json").read_text()), report.read_text()
    assert list(metrics["splits"]) == ["external"]
    assert metrics["operating_point"] == own["operating_point"]
    counts = metrics["splits"]["external"]["counts"]
    assert (
        counts["films_positive"] + counts["films_negative"]
        == len(pd.read_csv(report.parent / "predictions.csv"))
        == 48
        and counts["patients"] == 24
    )
    assert (
        "AUC on the network's own test split minus AUC here" in text
        and "RA (phantom)" in text
        and text.count("<figure") == 4
    )
    assert "No figure is about patients" in text or "no figure is about patients" in text
    assert metrics["conformal"]["splits"]["external"]["films"] == 48
    assert "No film was left out" in " ".join(metrics["notes"])


@pytest.mark.slow
def test_a_bundle_alone_says_what_it_could_not_check(tiny_run, tmp_path):
    shutil.copytree(tiny_run.folder / "02_train" / "bundle", tmp_path / "alone")
    bundle, owner = find_bundle(tmp_path / "alone")
    assert bundle == tmp_path / "alone" and owner is None
    report = evaluate_elsewhere(tmp_path / "alone", cohort(tmp_path / "out", task="arthritis"))
    notes = " ".join(json.loads((report.parent / "metrics.json").read_text())["notes"])
    assert (
        "was not checked" in notes
        and "the label of the cohort is 'arthritis'" in notes
        and "minus AUC here" not in report.read_text()
    )


def test_what_the_network_has_seen_is_left_out(tiny_run, tmp_path):
    manifest = pd.read_csv(tiny_run.file("curate", "manifest.csv"))
    rest, notes = drop_seen(manifest, tiny_run)
    assert set(rest["split"]) == {"test"} and "were left out" in notes[0]
    with pytest.raises(ValueError, match="expected another cohort"):
        drop_seen(manifest[manifest["split"] != "test"], tiny_run)


def test_refusals(tiny_run, tmp_path):
    with pytest.raises(ValueError, match="expected 48"):
        evaluate_elsewhere(tiny_run.folder, cohort(tmp_path / "out", image_size=64))
    with pytest.raises(ValueError, match="choose another --name"):
        evaluate_elsewhere(tiny_run.folder, cohort(tiny_run.folder))
    with pytest.raises(MissingArtefactError, match="neither a run with a bundle nor a bundle"):
        find_bundle(tmp_path)


def test_command(tiny_run, tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_start_here.ipynb").write_text("{}")
    monkeypatch.chdir(tmp_path)
    arguments = [
        "evaluate",
        str(tiny_run.folder),
        "--profile",
        "smoke",
        "--name",
        "there",
        "-p",
        "seed=8",
        "-p",
        "n_patients=24",
        "-p",
        "n_bootstrap=50",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "there" / "external_test" / "report.html").exists()
    for wrong, message in (
        (["evaluate", "nowhere"], "neither a run"),
        ([*arguments[:2], "--source", "fantom"], "did you mean 'phantom'"),
        ([*arguments, "-p", "epoch=3"], "did you mean 'epochs'"),
        ([*arguments[:4], "--name", "../x"], "expected letters"),
    ):
        refused = CliRunner().invoke(main, wrong)
        assert refused.exit_code in (1, 2) and message in refused.output


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda info: "{", "it is not JSON"),
        (lambda info: "[]", "files, title, image_size"),
        (
            lambda info: json.dumps({k: v for k, v in info.items() if k != "image_size"}),
            "image_size is missing or invalid",
        ),
        (
            lambda info: json.dumps(info | {"image_size": "48"}),
            "image_size is missing or invalid",
        ),
        (lambda info: json.dumps(info | {"temperature": 0}), "temperature is missing or invalid"),
        (
            lambda info: json.dumps(info | {"temperature": float("nan")}),
            "temperature is missing or invalid",
        ),
        (lambda info: json.dumps(info | {"files": {}}), "files is missing or invalid"),
        (
            lambda info: json.dumps(info | {"files": info["files"] | {"model.keras": "0" * 64}}),
            "model.keras is missing or damaged",
        ),
    ],
)
def test_a_damaged_bundle_is_named(tiny_run, tmp_path, spoil, words):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_run.file("train", "bundle/bundle.json").parent, bundle)
    file = bundle / "bundle.json"
    file.write_text(spoil(json.loads(file.read_text())))
    with pytest.raises(DamagedArtefactError, match=words):
        load_bundle(bundle)
    result = CliRunner().invoke(
        main, ["evaluate", str(bundle), "--profile", "smoke", "--name", "there"]
    )
    assert result.exit_code in (1, 2) and isinstance(result.exception, SystemExit), "no traceback"


@pytest.mark.slow
def test_a_hospital_held_out_is_scored_as_a_split_of_its_own(tmp_path):
    """external_centre: its films are in no other split, and step 03 scores them with counts."""
    rng = np.random.default_rng(0)
    (tmp_path / "films").mkdir()
    hand = np.zeros((90, 80))
    hand[20:, 20:60] = 0.6  # something bright that reaches the lower edge, as an arm does
    for i in range(40):
        film = np.clip(hand + rng.normal(0, 0.1, hand.shape) + 0.1 * (i % 2) * (hand > 0), 0, 1)
        Image.fromarray((255 * film).astype(np.uint8)).save(tmp_path / "films" / f"{i}.png")
    table = pd.DataFrame(
        {
            "image_id": range(40),
            "who": [f"p{i}" for i in range(40)],
            "grade": [i % 2 for i in range(40)],
            "place": ["north"] * 28 + ["south"] * 12,
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    run = Run(
        make_config(
            source="folder",
            images=str(tmp_path / "films"),
            table=str(tmp_path / "t.csv"),
            patient_column="who",
            label_column="grade",
            positive="1",
            centre_column="place",
            external_centre="south",
            image_size=32,
            epochs=1,
            n_bootstrap=50,
            run_dir=str(tmp_path / "run"),
        )
    )
    curate(run)
    train(run)
    metrics = evaluate(run)
    external = metrics["splits"]["external"]
    assert external["counts"]["films_positive"] == 6 and external["few"].startswith("6 positive")
    assert metrics["conformal"]["splits"]["external"]["films"] == 12
    shown = metrics_table(metrics).loc["AUC", "external"]
    assert shown.startswith("not shown: 6 positive")
    card = run.file("evaluate", "model_card.md").read_text()
    assert "- external: 6 positive films" in card and "phantom" not in card
    assert "- [x] External test: 6 pos" in run.file("evaluate", "checklist.md").read_text()
