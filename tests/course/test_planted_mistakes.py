"""The planted mistakes can be found with the tools, and wrong answers get a hint."""

import pytest

from rahelpers.core.config import make_config
from rahelpers.course.planted_mistakes import compare_films, describe_findings, plant_mistakes
from rahelpers.curation.splits import find_leaks


@pytest.fixture(params=["phantom", "real"])
def planted(request, tmp_path):
    if request.param == "phantom":
        return plant_mistakes(make_config(seed=5, run_dir=str(tmp_path)))
    films = request.getfixturevalue("real_films")
    return plant_mistakes(
        make_config(
            source="folder",
            images=str(films / "images"),
            table=str(films / "manifest.csv"),
            patient_column="image_id",
            label_column="sex",
            positive="M",
            run_dir=str(tmp_path),
        )
    )


def test_each_mistake_is_found_by_its_tool_and_nothing_else_is(planted):
    findings = describe_findings(planted.films)
    inverted = findings[findings["check"] == "inverted"]["image_id"].tolist()
    leaks = find_leaks(planted.manifest)
    pairs = compare_films(planted.films, planted.manifest)
    same = pairs[pairs["verdict"] == "same hand"]
    assert len(inverted) == len(leaks) == len(same) == 1
    patient = leaks[0].split()[1]
    answer = {"inverted": inverted[0], "duplicate": same["image_b"].iloc[0], "leak": patient}
    assert planted.mark(answer) == "inverted: right\nduplicate: right\nleak: right"


def test_a_wrong_answer_gets_a_hint_and_none_a_question(tmp_path):
    planted = plant_mistakes(make_config(seed=5, run_dir=str(tmp_path)))
    reply, *others = planted.mark({"inverted": "film Z"}).splitlines()
    assert reply == (
        "inverted: not film Z: look for the film on which bone is darker than soft tissue, or use"
        " check_film"
    )
    assert others == ["duplicate: name a film", "leak: name a patient"]
