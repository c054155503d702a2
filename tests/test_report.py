"""The report: what a reader finds in it, and that it says what the tables say."""

import json
import re

import pandas as pd
import pytest

from rahelpers.evaluation import evaluate
from rahelpers.explain import explain_gradcam
from rahelpers.repeats import repeat
from rahelpers.report import show_strange, show_trainings, write_report
from rahelpers.shap_regions import explain_shap


@pytest.fixture(scope="module")
def page(tiny_run):
    for step in (repeat, evaluate, explain_gradcam, explain_shap):
        step(tiny_run)
    return write_report(tiny_run).read_text(encoding="utf-8")


def test_every_entry_of_the_contents_leads_somewhere(page):
    targets = re.findall(r'href="#([^"]+)"', page)
    assert len(targets) >= 8 and all(page.count(f'id="{target}"') == 1 for target in targets)
    assert "phantom" in page and "Education and research only" in page
    assert not re.search(r'(src|href)="https?:', page), "it needs nothing else"


def test_the_report_says_what_the_tables_say(page, tiny_run):
    def table(name):
        return pd.read_csv(tiny_run.folder / name)

    for row in table("03_evaluate/strange.csv").query("score == 'distance'").itertuples():
        assert row.kind in page and f"{row.auc:.2f} ({row.low:.2f}–{row.high:.2f})" in page
    for row in table("03_evaluate/calibrators.csv").itertuples():
        assert f"{row.brier:.2f} ({row.brier_low:.2f}–{row.brier_high:.2f})" in page
    for part in table("03_evaluate/shortcuts_probes.csv")["part"].unique():
        assert f"<td>{part}, " in page
    board, sanity = table("04_gradcam/board.csv"), table("04_gradcam/sanity.csv")
    assert all(method in page for method in {*board["method"], *sanity["method"]}) and all(test in page for test in sanity["test"].unique())
    metrics = json.loads((tiny_run.folder / "03_evaluate" / "metrics.json").read_text())
    assert f"{metrics['operating_point']['probability']:.3f}" in page


def test_every_training_is_in_the_autopsy(page, tiny_run):
    scores = pd.read_csv(tiny_run.folder / "02_repeat" / "scores.csv")
    words = show_trainings(scores)
    assert len(words) == len(scores) and all(f"<td>{name}</td>" in page for name in words["training"])
    assert "labels shuffled" in set(words["training"]) and "50% of the training patients" in set(words["training"])
    assert "Cross-validated by patient" in page


def test_what_is_missing_is_a_dash_or_a_count():
    row = {"kind": "share", "value": 0.25, "patients": 5, "train_auc": None, "validation_auc": 0.5, "test_auc": None, "test_low": None, "test_high": None,
           "gap": None, "gap_low": None, "gap_high": None, "films_positive": 3, "films_negative": 9}  # fmt: skip
    found = show_trainings(pd.DataFrame([row])).iloc[0]
    assert found["AUC on films held out"] == found["train less held out"] == "–" and found["positive / negative films held out"] == "3 / 9"
    assert show_trainings(pd.DataFrame([row | {"kind": "shuffled", "validation_auc": None}])).iloc[0]["AUC validation"] == "–"
    assert show_strange(pd.DataFrame(columns=["kind", "score", "auc", "low", "high", "warned", "pictures", "films"])).empty
